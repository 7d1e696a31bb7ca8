"""OpenTelemetry: sends calls and their spans to a collector, by OTLP over HTTP. Imported only if one is configured."""

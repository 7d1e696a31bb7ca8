"""OpenTelemetry: calls and their spans to a collector, by OTLP over HTTP. Imported only where the settings name one."""

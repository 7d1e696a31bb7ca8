module crishim.io/hack/tools/nri-plugin

go 1.26.0

require github.com/containerd/nri v0.12.5

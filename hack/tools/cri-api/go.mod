module crishim.io/hack/tools/cri-api

go 1.26.0

require k8s.io/cri-api v0.37.2

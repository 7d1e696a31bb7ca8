// A server of grpc.health.v1 for the tests of the kubelet's gRPC probe: the one Kubernetes' own tests use.
package main

import (
	"os"

	health "k8s.io/kubernetes/test/images/agnhost/grpc-health-checking"
)

func main() {
	if health.CmdGrpcHealthChecking.Execute() != nil {
		os.Exit(2)
	}
}

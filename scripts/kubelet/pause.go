// The program of a pod's sandbox: it holds the pod's namespaces and ends when it is told to.
//
// Kubernetes takes its own from a registry. This one is built with the kubelet, so that the test needs
// no registry. Nothing falls to it to be reaped: no pod of the test shares its process namespace.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	<-ends
}

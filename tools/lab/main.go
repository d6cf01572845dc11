// Lab is a virtual world for the hybrid gateway on one Linux machine; see
// docs/lab.md.
package main

import (
	"os"

	"github.com/hybridgateway/gateway/tools/lab/internal/app"
)

func main() { os.Exit(app.Main(os.Args[1:], os.Stdout, os.Stderr)) }

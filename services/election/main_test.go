package main

import (
	"testing"

	"github.com/hybridgateway/gateway/libs/deptest"
)

func TestLinksNoOtherAxis(t *testing.T) {
	deptest.Forbid(t, ".", map[string]string{
		"github.com/vishvananda":     "the kernel is the dataplane's",
		"github.com/google/nftables": "the kernel is the dataplane's",
		"github.com/aws":             "the VPC is route-sync's",
		"go.etcd.io/etcd/server":     "etcd is spoken to, not run",
		"testing":                    "test helpers do not belong into the binary",
	})
}

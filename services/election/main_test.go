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
		"go.etcd.io":                 "the record is a Lease",
		"testing":                    "test helpers do not belong into the binary",
	})
}

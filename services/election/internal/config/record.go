package config

import (
	"fmt"
	"strings"

	"github.com/hybridgateway/gateway/libs/etcdaccess"
)

// RecordFlags say where the leadership record is.
type RecordFlags struct {
	Backend       Backend  `help:"Where the leadership record is: lease (a Kubernetes Lease) or etcd." enum:"lease,etcd" default:"lease" placeholder:"NAME"`
	EtcdEndpoints []string `help:"With --backend=etcd: the members of the cluster, with commas between them." placeholder:"https://HOST:PORT"`
	EtcdCA        string   `name:"etcd-ca" help:"PEM file with the authority of the members' certificates." placeholder:"FILE"`
	EtcdCert      string   `help:"PEM file with this gateway's certificate for etcd." placeholder:"FILE"`
	EtcdKey       string   `help:"PEM file with the certificate's key." placeholder:"FILE"`
	EtcdPrefix    string   `help:"What the record's key begins with; /SHARD/leader follows." default:"/hybrid-gateway" placeholder:"/PATH"`
}

// Backend is where the leadership record is.
type Backend string

const (
	// Lease is a Lease of the Kubernetes API server.
	Lease Backend = "lease"
	// Etcd is a key of etcd.
	Etcd Backend = "etcd"
)

func (f *RecordFlags) validate() error {
	files := etcdaccess.Files{CA: f.EtcdCA, Cert: f.EtcdCert, Key: f.EtcdKey}.Flags()
	if f.Backend != Etcd {
		if len(f.EtcdEndpoints) > 0 {
			return fmt.Errorf("--etcd-endpoints=%s: is only for --backend=etcd, and --backend is %s", strings.Join(f.EtcdEndpoints, ","), f.Backend)
		}
		for _, file := range files {
			if file.Value != "" {
				return fmt.Errorf("%s=%s: is only for --backend=etcd, and --backend is %s", file.Flag, file.Value, f.Backend)
			}
		}
		return nil
	}
	if len(f.EtcdEndpoints) == 0 {
		return fmt.Errorf("--backend=etcd: want --etcd-endpoints too, such as https://10.0.0.5:2379")
	}
	if err := etcdaccess.CheckEndpoints(f.EtcdEndpoints); err != nil {
		return err
	}
	for _, file := range files {
		if file.Value == "" {
			return fmt.Errorf("--backend=etcd: want %s too, a PEM file with %s", file.Flag, file.What)
		}
	}
	return etcdaccess.CheckPrefix(f.EtcdPrefix)
}

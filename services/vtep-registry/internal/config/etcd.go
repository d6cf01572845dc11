package config

import (
	"fmt"

	"github.com/hybridgateway/gateway/libs/etcdaccess"
)

// EtcdFlags say where registered VTEPs are kept: in etcd, or, without endpoints, in a ConfigMap.
type EtcdFlags struct {
	EtcdEndpoints []string `help:"Keep registered VTEPs in etcd, and not in a ConfigMap: the members of the cluster, with commas between them." placeholder:"https://HOST:PORT"`
	EtcdCA        string   `name:"etcd-ca" help:"PEM file with the authority of the members' certificates." placeholder:"FILE"`
	EtcdCert      string   `help:"PEM file with this gateway's certificate for etcd." placeholder:"FILE"`
	EtcdKey       string   `help:"PEM file with the certificate's key." placeholder:"FILE"`
	EtcdPrefix    string   `help:"What the keys of registered VTEPs begin with; /vteps/NAME follows." default:"/hybrid-gateway" placeholder:"/PATH"`
}

// EtcdFiles are the certificates.
func (f *EtcdFlags) EtcdFiles() etcdaccess.Files {
	return etcdaccess.Files{CA: f.EtcdCA, Cert: f.EtcdCert, Key: f.EtcdKey}
}

func (f *EtcdFlags) validateEtcd() error {
	wanted := len(f.EtcdEndpoints) > 0
	if err := etcdaccess.CheckEndpoints(f.EtcdEndpoints); err != nil {
		return err
	}
	for _, file := range f.EtcdFiles().Flags() {
		switch {
		case wanted && file.Value == "":
			return fmt.Errorf("--etcd-endpoints: want %s too, a PEM file with %s", file.Flag, file.What)
		case !wanted && file.Value != "":
			return fmt.Errorf("%s=%s: is only of use with --etcd-endpoints", file.Flag, file.Value)
		}
	}
	return etcdaccess.CheckPrefix(f.EtcdPrefix)
}

package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/services/election/internal/config"
	"github.com/hybridgateway/gateway/services/election/internal/etcd"
	"github.com/hybridgateway/gateway/services/election/internal/lease"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// record is a backend of the leadership record.
type record interface {
	// CompareAndSwap writes within the write's timeout. The error explains an outcome
	// other than Swapped.
	CompareAndSwap(context.Context, term.CompareAndSwap) (term.Result, error)
	// Read asks for an observation, which comes as others do.
	Read(context.Context)
	// Follow sends observations until ctx ends.
	Follow(context.Context, chan<- term.Observation) error
	Close()
}

// openRecord makes the record of a shard in the backend that is configured. It does not connect.
func openRecord(c config.Config, shard string, log *slog.Logger) (record, error) {
	callTimeout, userAgent := c.RenewDeadline/2, "hybrid-gateway-election/"+cli.Version()
	if c.Backend == config.Etcd {
		return openEtcd(c, shard, callTimeout, userAgent, log)
	}
	return openLease(c, shard, callTimeout, userAgent, log)
}

func openEtcd(c config.Config, shard string, callTimeout time.Duration, userAgent string, log *slog.Logger) (record, error) {
	e, err := etcd.New(etcd.Config{
		Endpoints:   c.EtcdEndpoints,
		CA:          c.EtcdCA,
		Cert:        c.EtcdCert,
		Key:         c.EtcdKey,
		Prefix:      c.EtcdPrefix,
		Shard:       shard,
		UserAgent:   userAgent,
		CallTimeout: callTimeout,
		PollPeriod:  c.RetryPeriod,
		Log:         log,
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func openLease(c config.Config, shard string, callTimeout time.Duration, userAgent string, log *slog.Logger) (record, error) {
	l, err := lease.New(lease.Config{
		Kubeconfig:  c.Kubeconfig,
		Namespace:   c.LeaseNamespace,
		Name:        c.LeaseOf(shard),
		UserAgent:   userAgent,
		CallTimeout: callTimeout,
		PollPeriod:  c.RetryPeriod,
		Log:         log,
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

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
	register
	// Follow sends observations until ctx ends.
	Follow(context.Context, chan<- term.Observation) error
	Close()
}

// openRecord makes the record of the backend that is configured. It does not connect.
func openRecord(c config.Config, log *slog.Logger) (record, error) {
	callTimeout, userAgent := c.RenewDeadline/2, "hybrid-gateway-election/"+cli.Version()
	if c.Backend == config.Etcd {
		return openEtcd(c, callTimeout, userAgent, log)
	}
	return openLease(c, callTimeout, userAgent, log)
}

func openEtcd(c config.Config, callTimeout time.Duration, userAgent string, log *slog.Logger) (record, error) {
	e, err := etcd.New(etcd.Config{
		Endpoints:   c.EtcdEndpoints,
		CA:          c.EtcdCA,
		Cert:        c.EtcdCert,
		Key:         c.EtcdKey,
		Prefix:      c.EtcdPrefix,
		Shard:       c.Shard,
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

func openLease(c config.Config, callTimeout time.Duration, userAgent string, log *slog.Logger) (record, error) {
	l, err := lease.New(lease.Config{
		Kubeconfig:  c.Kubeconfig,
		Namespace:   c.LeaseNamespace,
		Name:        c.LeaseName,
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

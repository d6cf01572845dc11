// Package apiserver runs kube-apiserver in this process.
//
// kube-apiserver keeps feature gates, metrics and its logger in package-level
// state, so one process can run it once.
package apiserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	basecompatibility "k8s.io/component-base/compatibility"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/hybridgateway/gateway/tools/controlplane/internal/pki"
)

// ServiceNames are the names under which pods know the API server.
func ServiceNames() []string {
	return []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}
}

// ServiceAddress is the address of the Service default/kubernetes.
func ServiceAddress() netip.Addr { return netip.AddrFrom4([4]byte{10, 96, 0, 1}) }

const serviceRange = "10.96.0.0/16"

// admissionPlugins are those with an effect on what the lab does: namespaces
// that exist, and webhooks.
const admissionPlugins = "NamespaceLifecycle,MutatingAdmissionWebhook,ValidatingAdmissionWebhook"

// unneededPlugins are on by default. ServiceAccount would refuse pods in a
// namespace without a default ServiceAccount, which no controller makes here;
// the others act on pods that are scheduled, on volumes and on certificates.
const unneededPlugins = "CertificateApproval,CertificateSigning,CertificateSubjectRestriction,ClusterTrustBundleAttest," +
	"DefaultIngressClass,DefaultStorageClass,DefaultTolerationSeconds,LimitRanger,MutatingAdmissionPolicy," +
	"PersistentVolumeClaimResize,PodSecurity,Priority,ResourceQuota,RuntimeClass,ServiceAccount," +
	"StorageObjectInUseProtection,TaintNodesByCondition,ValidatingAdmissionPolicy"

// Config is what an API server needs.
type Config struct {
	// Listener is served on, and closed at the end.
	Listener net.Listener
	// Advertise is the address others reach Listener under.
	Advertise netip.Addr
	// EtcdEndpoint is etcd's client URL.
	EtcdEndpoint string
	// PKI are its keys and certificates.
	PKI pki.Files
	// Issuer is the issuer of service account tokens.
	Issuer string
	// Log takes all its log lines.
	Log io.Writer
}

// Run serves until ctx ends. It returns nil after a shutdown asked for by ctx.
func Run(ctx context.Context, c Config) error {
	completed, err := complete(ctx, c)
	if err != nil {
		return err
	}
	defer klog.Flush()
	if err := app.Run(ctx, completed); err != nil {
		return fmt.Errorf("run kube-apiserver: %w", err)
	}
	return nil
}

func complete(ctx context.Context, c Config) (options.CompletedOptions, error) {
	o := options.NewServerRunOptions()
	fs := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range o.Flags().FlagSets {
		fs.AddFlagSet(set)
	}
	if err := fs.Parse(arguments(c)); err != nil {
		return options.CompletedOptions{}, fmt.Errorf("set up kube-apiserver's flags: %w", err)
	}
	o.SecureServing.Listener = c.Listener

	registry := o.GenericServerRunOptions.ComponentGlobalsRegistry
	if err := registry.Set(); err != nil {
		return options.CompletedOptions{}, fmt.Errorf("set up feature gates: %w", err)
	}
	logging := &logsapi.LoggingOptions{ErrorStream: c.Log, InfoStream: c.Log}
	gates := registry.FeatureGateFor(basecompatibility.DefaultKubeComponent)
	if err := logsapi.ValidateAndApplyWithOptions(o.Logs, logging, gates); err != nil {
		return options.CompletedOptions{}, fmt.Errorf("set up kube-apiserver's log: %w", err)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	completed, err := o.Complete(ctx)
	if err != nil {
		return options.CompletedOptions{}, fmt.Errorf("complete kube-apiserver's options: %w", err)
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return options.CompletedOptions{}, fmt.Errorf("validate kube-apiserver's options: %w", utilerrors.NewAggregate(errs))
	}
	return completed, nil
}

func arguments(c Config) []string {
	bound := netip.MustParseAddrPort(c.Listener.Addr().String())
	return []string{
		"--bind-address=" + bound.Addr().String(),
		fmt.Sprintf("--secure-port=%d", bound.Port()),
		"--advertise-address=" + c.Advertise.String(),
		"--tls-cert-file=" + c.PKI.ServingCert,
		"--tls-private-key-file=" + c.PKI.ServingKey,
		"--client-ca-file=" + c.PKI.CA,
		"--service-account-issuer=" + c.Issuer,
		"--service-account-key-file=" + c.PKI.ServiceAccountKey,
		"--service-account-signing-key-file=" + c.PKI.ServiceAccountKey,
		"--authorization-mode=RBAC",
		"--etcd-servers=" + c.EtcdEndpoint,
		"--service-cluster-ip-range=" + serviceRange,
		"--enable-admission-plugins=" + admissionPlugins,
		"--disable-admission-plugins=" + unneededPlugins,
		"--runtime-config=" + strings.Join(unneededGroups(), ","),
		// The Service default/kubernetes needs no endpoints here, and a loopback
		// address would be refused as one.
		"--endpoint-reconciler-type=none",
		// One API server, few clients: the plain limit on requests in flight is enough.
		"--enable-priority-and-fairness=false",
		"--feature-gates=APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false",
		"--allow-privileged=true",
		"--profiling=false",
	}
}

// unneededGroups are API groups that only controllers use which do not run here.
func unneededGroups() []string {
	groups := []string{
		"autoscaling/v1", "autoscaling/v2", "batch/v1", "certificates.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1",
		"node.k8s.io/v1", "resource.k8s.io/v1", "scheduling.k8s.io/v1", "storage.k8s.io/v1",
	}
	off := make([]string, len(groups))
	for i, g := range groups {
		off[i] = g + "=false"
	}
	return off
}

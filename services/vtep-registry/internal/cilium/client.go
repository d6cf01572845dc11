package cilium

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// brokenAfter is how long a connection may stay unanswered before it counts as broken.
// Without a limit of its own a connection to an API server whose machine died would be
// waited on for minutes.
const brokenAfter = 5 * time.Second

// Client speaks to one API server. All calls share one connection, which the watches keep
// open, so that a write never waits for a handshake.
type Client struct {
	rest       rest.Interface
	http       *http.Client
	parameters runtime.ParameterCodec
}

// NewClient makes a client from a kubeconfig file, or from the pod's service account
// when the path is empty. It connects when it is first used.
func NewClient(kubeconfig string) (*Client, error) {
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	scheme := newScheme()
	config.GroupVersion = &schema.GroupVersion{Group: group, Version: version}
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeJSON
	config.AcceptContentTypes = runtime.ContentTypeJSON
	config.UserAgent = "hybrid-gateway-vtep-registry"
	config.QPS = -1 // the API server has its own, and fairer, limits
	config.WarningHandler = rest.NoWarnings{}
	config.Dial = dialer().DialContext
	client := &Client{parameters: runtime.NewParameterCodec(scheme)}
	if client.http, err = rest.HTTPClientFor(config); err != nil {
		return nil, fmt.Errorf("make the Kubernetes client for %s: %w", config.Host, err)
	}
	if client.rest, err = rest.RESTClientForConfigAndClient(config, client.http); err != nil {
		return nil, fmt.Errorf("make the Kubernetes client for %s: %w", config.Host, err)
	}
	return client, nil
}

// LogTo sends what client-go says where it was given no logger to w as JSON, in place of
// its own format. It is for the whole process, and to be called before anything of
// client-go is.
func LogTo(w io.Writer) { klog.SetSlogLogger(slog.New(slog.NewJSONHandler(w, nil))) }

// restConfig does not leave the choice to BuildConfigFromFlags, which takes a default
// configuration where there is neither, and fails later with a puzzle.
func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("no --kubeconfig is given and this is no pod with a ServiceAccount: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load --kubeconfig=%s: %w", kubeconfig, err)
	}
	return config, nil
}

// Close closes connections that no call uses.
func (c *Client) Close() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

func dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:         brokenAfter,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
		Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			if ctrlErr := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(brokenAfter.Milliseconds()))
			}); ctrlErr != nil {
				return ctrlErr
			}
			return err
		},
	}
}

// CheckSelector tells what is wrong with a label selector; "" selects everything.
func CheckSelector(selector string) error {
	_, err := labels.Parse(selector)
	return err
}

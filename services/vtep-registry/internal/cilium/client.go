package cilium

import (
	"fmt"
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
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the Kubernetes client configuration (--kubeconfig=%q): %w", kubeconfig, err)
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

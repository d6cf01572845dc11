package ec2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
)

// gate is the HTTP client under the SDK. A request whose context carries a fence passes only if the
// fence lets it, at the last moment before it is sent: after credentials were fetched and the
// request was signed, which may have taken any time.
type gate struct {
	client    http.Client
	transport *http.Transport
	// second is for calls made once more: its connections are others.
	second *http.Transport
	// endpoint is where the last request went.
	endpoint atomic.Pointer[url.URL]
}

type fenceKey struct{}

// errFenced says that a request was not sent.
var errFenced = errors.New("not sent: leadership has ended")

// withFence makes requests under the context ask whether they may still be sent.
func withFence(ctx context.Context, open func() bool) context.Context {
	return context.WithValue(ctx, fenceKey{}, open)
}

// Do implements the SDK's HTTPClient.
func (g *gate) Do(r *http.Request) (*http.Response, error) {
	if open, fenced := r.Context().Value(fenceKey{}).(func() bool); fenced && !open() {
		return nil, errFenced
	}
	g.endpoint.Store(r.URL)
	if r.Body != nil {
		// The SDK closes the body as soon as there is an answer. Its WriteTo then returns io.EOF, an error to
		// net/http, which closes the connection, and the rest of the answer is lost. Its Read does not.
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	client := g.client
	if r.Context().Value(elsewhereKey{}) != nil {
		client.Transport = g.second
	}
	return client.Do(r)
}

type elsewhereKey struct{}

// elsewhere makes requests under the context use other connections than those without it.
func elsewhere(ctx context.Context) context.Context {
	return context.WithValue(ctx, elsewhereKey{}, true)
}

// Warm makes n connections to the API's endpoint exist and be fresh, so that n calls at once wait for no
// handshake. It asks for the endpoint's root, which needs no credentials and is no call of the API. It
// does nothing before the first call.
func (c *Client) Warm(ctx context.Context, n int) error {
	endpoint := c.http.endpoint.Load()
	if endpoint == nil {
		return nil
	}
	root := url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host, Path: "/"}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()

	// Each request holds its connection until all have one; otherwise a few connections would serve all.
	var waiting atomic.Int64
	waiting.Store(int64(n))
	all := make(chan struct{})
	arrive := func() {
		if waiting.Add(-1) == 0 {
			close(all)
		}
	}
	failures := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			arrived := sync.OnceFunc(arrive)
			defer arrived()
			hold := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
				arrived()
				select {
				case <-all:
				case <-ctx.Done():
				}
			}}
			failures[i] = c.http.touch(httptrace.WithClientTrace(ctx, hold), root.String())
		})
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("keep %d connections to %s warm: %w", n, root.Host, firstOf(failures))
	}
	return nil
}

func (g *gate) touch(ctx context.Context, root string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, root, nil)
	if err != nil {
		return err
	}
	response, err := g.client.Do(r)
	if err != nil {
		return err
	}
	// A connection can be used again only when the answer was read.
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	return errors.Join(err, response.Body.Close())
}

func firstOf(failures []error) error {
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

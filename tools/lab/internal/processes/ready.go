package processes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

// pollEvery is how often readiness is asked for.
const pollEvery = 20 * time.Millisecond

// WaitReady polls http://address/readyz from inside the process's own host
// until it answers 200. It fails when the process ends, or when ctx does; the
// error then carries the reason that the process gave last.
func (p *Process) WaitReady(ctx context.Context, address string) error {
	client := clientIn(p.spec.Host)
	defer client.CloseIdleConnections()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last := "it has not answered yet"
	for {
		reason, err := ready(ctx, client, address)
		switch {
		case err == nil && reason == "":
			return nil
		case err == nil:
			last = reason
		case ctx.Err() == nil:
			last = err.Error()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%s), its log is %s: %w", p.spec.Name, last, p.spec.Log, ctx.Err())
		case <-p.Exited():
			return p.Failure()
		case <-tick.C:
		}
	}
}

// ready asks once; the reason is empty when the process is ready.
func ready(ctx context.Context, client *http.Client, address string) (reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, tail))
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%s: %s", resp.Status, strings.TrimSpace(string(body))), nil
	}
	return "", nil
}

func clientIn(h *netns.Host) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true}}
}

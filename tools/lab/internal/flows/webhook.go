package flows

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/pki"
)

// WebhookPath is where the webhook answers.
const WebhookPath = "/validate"

// maxReview bounds a request to the webhook, in bytes.
const maxReview = 3 << 20

// Webhook is an admission webhook that runs in a pod: it denies objects that are
// named as Deny says and admits all others.
type Webhook struct {
	Addr netip.AddrPort

	deny    string
	server  *http.Server
	running sync.WaitGroup

	mu    sync.Mutex
	calls []Call
}

// Call is one question of the API server's.
type Call struct {
	Object  string // its name
	From    netip.Addr
	Allowed bool
}

// DenyReason is what the API server's client is told.
const DenyReason = "denied by a webhook in an on-premises pod"

// ServeWebhook serves HTTPS on an address of the host.
func ServeWebhook(ctx context.Context, h *netns.Host, addr netip.AddrPort, ca *pki.Authority, deny string) (*Webhook, error) {
	pair, err := ca.Server("webhook", addr.Addr())
	if err != nil {
		return nil, err
	}
	cert, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	l, err := h.Listen(ctx, "tcp4", addr.String())
	if err != nil {
		return nil, fmt.Errorf("serve webhook: %w", err)
	}
	w := &Webhook{Addr: l.Addr().(*net.TCPAddr).AddrPort(), deny: deny}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+WebhookPath, w.review)
	w.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	w.running.Go(func() { _ = w.server.ServeTLS(l, "", "") }) // ends with Close
	return w, nil
}

func (w *Webhook) review(rw http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxReview)).Decode(&review); err != nil || review.Request == nil {
		http.Error(rw, "want an AdmissionReview", http.StatusBadRequest)
		return
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	call := Call{Object: review.Request.Name, From: from.Addr().Unmap(), Allowed: review.Request.Name != w.deny}
	w.mu.Lock()
	w.calls = append(w.calls, call)
	w.mu.Unlock()
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: call.Allowed}
	if !call.Allowed {
		review.Response.Result = &metav1.Status{Message: DenyReason, Code: http.StatusForbidden}
	}
	review.Request = nil
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(review) // a caller that has gone needs no answer
}

// Calls lists the questions so far.
func (w *Webhook) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Call(nil), w.calls...)
}

// Close ends the webhook.
func (w *Webhook) Close() {
	_ = w.server.Close()
	w.running.Wait()
}

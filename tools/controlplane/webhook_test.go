package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const denied = "denied by the test's webhook"

// denyNamed is an admission webhook that denies objects of one name.
func denyNamed(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(w, "no review", http.StatusBadRequest)
			return
		}
		answer := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: review.Request.Name != name}
		if !answer.Allowed {
			answer.Result = &metav1.Status{Message: denied}
		}
		review.Request, review.Response = nil, answer
		json.NewEncoder(w).Encode(review) // the caller sees a broken answer
	}
}

func TestWebhookByURL(t *testing.T) {
	ctx := t.Context()
	client := clientset(t, shared.Get(t).Kubeconfig())
	webhook := httptest.NewTLSServer(denyNamed("bad"))
	t.Cleanup(webhook.Close)

	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "webhook-test"}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	none, fail, url := admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.Fail, webhook.URL+"/validate"
	config := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "webhook-test"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "names.webhook-test.example.com",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL:      &url,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: webhook.Certificate().Raw}),
			},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace.Name}},
			SideEffects:             &none,
			FailurePolicy:           &fail,
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
	configs := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := configs.Create(ctx, config, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := configs.Delete(context.WithoutCancel(ctx), config.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})

	try := func(ctx context.Context, name string) error {
		_, err := client.CoreV1().ConfigMaps(namespace.Name).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}},
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	// The API server learns of the configuration some time after its creation.
	eventually(t, func(ctx context.Context) error {
		err := try(ctx, "bad")
		if err == nil {
			return errors.New("the webhook is not called")
		}
		if !strings.Contains(err.Error(), denied) {
			t.Fatalf("denied, but not by the webhook: %v", err)
		}
		return nil
	})
	if err := try(ctx, "good"); err != nil {
		t.Errorf("the good object: %v", err)
	}
}

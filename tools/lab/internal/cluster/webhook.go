package cluster

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Playground is the namespace that webhooks are asked about.
const Playground = "playground"

// namespaceLabel is set on each namespace by the API server.
const namespaceLabel = "kubernetes.io/metadata.name"

// webhookTimeout is how long the API server waits for an answer, in seconds.
const webhookTimeout = 5

// CreateWebhook makes the API server ask a URL about every new ConfigMap in the
// playground, and refuse it when there is no answer.
func (c *Cluster) CreateWebhook(ctx context.Context, name, url string, ca []byte) error {
	_, err := c.Clients.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Playground}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", Playground, err)
	}
	fail, none, timeout := admissionv1.Fail, admissionv1.SideEffectClassNone, int32(webhookTimeout)
	_, err = c.Clients.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name:         name + ".lab.example",
			ClientConfig: admissionv1.WebhookClientConfig{URL: &url, CABundle: ca},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{namespaceLabel: Playground}},
			FailurePolicy:           &fail,
			SideEffects:             &none,
			TimeoutSeconds:          &timeout,
			AdmissionReviewVersions: []string{"v1"},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create ValidatingWebhookConfiguration %s: %w", name, err)
	}
	return nil
}

// DeleteWebhook undoes CreateWebhook; one that is absent is fine.
func (c *Cluster) DeleteWebhook(ctx context.Context, name string) error {
	err := c.Clients.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete ValidatingWebhookConfiguration %s: %w", name, err)
	}
	return nil
}

// CreateConfigMap creates an object in the playground.
func (c *Cluster) CreateConfigMap(ctx context.Context, name string) error {
	_, err := c.Clients.CoreV1().ConfigMaps(Playground).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create ConfigMap %s/%s: %w", Playground, name, err)
	}
	return nil
}

// DeleteConfigMap deletes an object of the playground; one that is absent is fine.
func (c *Cluster) DeleteConfigMap(ctx context.Context, name string) error {
	err := c.Clients.CoreV1().ConfigMaps(Playground).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete ConfigMap %s/%s: %w", Playground, name, err)
	}
	return nil
}

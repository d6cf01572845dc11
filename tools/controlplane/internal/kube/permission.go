package kube

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// waitPermitted waits until the API server's authorizer, which learns of roles
// and bindings by watching, grants what the bindings among the objects grant.
func (a *Admin) waitPermitted(ctx context.Context, objects []*unstructured.Unstructured) error {
	questions, err := permissionQuestions(objects)
	if err != nil {
		return err
	}
	for _, q := range questions {
		err := poll(ctx, "wait for the permissions of "+q.Spec.User, func() error {
			answer, err := a.clientset.AuthorizationV1().SubjectAccessReviews().Create(ctx, q, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			if !answer.Status.Allowed {
				return fmt.Errorf("%s of %s is not allowed yet", q.Spec.ResourceAttributes.Verb, q.Spec.ResourceAttributes.Resource)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// permissionQuestions asks, for each ServiceAccount a binding among the objects
// names, for the first thing each rule of the binding's role allows. Roles that
// are not among the objects, and rules about URLs, are left out.
func permissionQuestions(objects []*unstructured.Unstructured) ([]*authorizationv1.SubjectAccessReview, error) {
	rules, bindings, err := rolesAndBindings(objects)
	if err != nil {
		return nil, err
	}
	var questions []*authorizationv1.SubjectAccessReview
	for _, b := range bindings {
		for _, rule := range rules[roleKey{b.RoleRef.Kind, roleNamespace(b), b.RoleRef.Name}] {
			if len(rule.Resources) == 0 || len(rule.Verbs) == 0 || len(rule.APIGroups) == 0 {
				continue
			}
			for _, subject := range b.Subjects {
				if subject.Kind == rbacv1.ServiceAccountKind {
					questions = append(questions, question(b.Namespace, subject, rule))
				}
			}
		}
	}
	return questions, nil
}

type roleKey struct{ kind, namespace, name string }

// roleNamespace is where a binding's role lives: a RoleBinding may refer to a
// ClusterRole, which lives nowhere.
func roleNamespace(b rbacv1.RoleBinding) string {
	if b.RoleRef.Kind == "ClusterRole" {
		return ""
	}
	return b.Namespace
}

// rolesAndBindings converts. A ClusterRoleBinding becomes a RoleBinding without
// a namespace; they have the same fields.
func rolesAndBindings(objects []*unstructured.Unstructured) (map[roleKey][]rbacv1.PolicyRule, []rbacv1.RoleBinding, error) {
	rules := map[roleKey][]rbacv1.PolicyRule{}
	var bindings []rbacv1.RoleBinding
	for _, o := range objects {
		if o.GroupVersionKind().Group != rbacv1.GroupName {
			continue
		}
		switch o.GetKind() {
		case "Role", "ClusterRole":
			var role rbacv1.Role
			if err := convert(o, &role); err != nil {
				return nil, nil, err
			}
			rules[roleKey{o.GetKind(), o.GetNamespace(), o.GetName()}] = role.Rules
		case "RoleBinding", "ClusterRoleBinding":
			var binding rbacv1.RoleBinding
			if err := convert(o, &binding); err != nil {
				return nil, nil, err
			}
			bindings = append(bindings, binding)
		}
	}
	return rules, bindings, nil
}

func convert(o *unstructured.Unstructured, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into); err != nil {
		return fmt.Errorf("read %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

func question(namespace string, subject rbacv1.Subject, rule rbacv1.PolicyRule) *authorizationv1.SubjectAccessReview {
	resource, subresource, _ := strings.Cut(rule.Resources[0], "/")
	attributes := &authorizationv1.ResourceAttributes{
		Namespace:   namespace,
		Verb:        rule.Verbs[0],
		Group:       rule.APIGroups[0],
		Resource:    resource,
		Subresource: subresource,
	}
	if len(rule.ResourceNames) > 0 {
		attributes.Name = rule.ResourceNames[0]
	}
	return &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + subject.Namespace + ":" + subject.Name,
		Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + subject.Namespace, "system:authenticated"},
		ResourceAttributes: attributes,
	}}
}

// Package ec2 carries out what package plan decides: it reads and writes route tables, and finds out
// who this gateway is. It is the one place that knows the AWS SDK.
//
// Endpoint, credentials, CA bundle and proxy come from the SDK's default chain, so that AWS_ENDPOINT_URL,
// AWS_CA_BUNDLE, IRSA, Pod Identity and instance profiles work as they do everywhere. Every call has a
// deadline and is made once: when to try again is the plan's business, since only it knows whether the
// gateway may still write.
package ec2

package ec2standin_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// metadata reads documents with the SDK's own client.
func metadata(t *testing.T, c *imds.Client, path string) string {
	t.Helper()
	out, err := c.GetMetadata(t.Context(), &imds.GetMetadataInput{Path: path})
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	defer func() { _ = out.Content.Close() }()
	b, err := io.ReadAll(out.Content)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return string(b)
}

func TestIMDSWithTheSDKsClient(t *testing.T) {
	s := newWorld(t, ec2standin.Config{Region: "eu-central-1"})
	must(t, s.AddENI(ec2standin.ENI{ID: "eni-gw1-1", Subnet: "subnet-a", Instance: "i-gw1", DeviceIndex: 1,
		PrivateIP: netip.MustParseAddr("10.0.1.20"), MAC: "02:00:00:00:00:07"}))
	h := httptest.NewServer(s.IMDS("i-gw1"))
	defer h.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c := imds.New(imds.Options{Endpoint: h.URL, HTTPClient: &http.Client{Transport: transport}})

	mac := metadata(t, c, "mac")
	for path, want := range map[string]string{
		"instance-id":                 "i-gw1",
		"local-ipv4":                  "10.0.1.10",
		"placement/availability-zone": "us-west-2a",
		"placement/region":            "eu-central-1",
		"network/interfaces/macs/" + mac + "/interface-id":         "eni-gw1",
		"network/interfaces/macs/" + mac + "/subnet-id":            "subnet-a",
		"network/interfaces/macs/" + mac + "/vpc-id":               "vpc-1",
		"network/interfaces/macs/" + mac + "/local-ipv4s":          "10.0.1.10\n10.0.1.11",
		"network/interfaces/macs/" + mac + "/vpc-ipv4-cidr-blocks": "10.0.0.0/16\n10.8.0.0/16",
		"network/interfaces/macs/02:00:00:00:00:07/interface-id":   "eni-gw1-1",
		"placement": "availability-zone\navailability-zone-id\nregion",
	} {
		if got := metadata(t, c, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	macs := strings.Fields(metadata(t, c, "network/interfaces/macs/"))
	if want := []string{"02:00:00:00:00:07/", mac + "/"}; len(macs) != 2 || !slices.Contains(macs, want[0]) || !slices.Contains(macs, want[1]) {
		t.Errorf("macs %q, want %q", macs, want)
	}
	region, err := c.GetRegion(t.Context(), nil)
	if err != nil || region.Region != "eu-central-1" {
		t.Errorf("region %v, %v", region, err)
	}
	doc, err := c.GetInstanceIdentityDocument(t.Context(), nil)
	if err != nil || doc.InstanceID != "i-gw1" || doc.AccountID != "123456789012" || doc.PrivateIP != "10.0.1.10" ||
		doc.AvailabilityZone != "us-west-2a" {
		t.Errorf("identity document %+v, %v", doc, err)
	}
	if info, err := c.GetIAMInfo(t.Context(), nil); err != nil || !strings.Contains(info.InstanceProfileArn, ec2standin.RoleName) {
		t.Errorf("IAM info %+v, %v", info, err)
	}
	if _, err := c.GetMetadata(t.Context(), &imds.GetMetadataInput{Path: "spot/termination-time"}); err == nil {
		t.Error("a document that does not exist was found")
	}
}

// The SDK's default chain finds region and credentials in IMDS and the API at
// AWS_ENDPOINT_URL; the call log tells the instance.
func TestDefaultChain(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	api, meta := httptest.NewServer(s), httptest.NewServer(s.IMDS("i-gw2"))
	defer api.Close()
	defer meta.Close()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CA_BUNDLE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_ENDPOINT_URL", api.URL)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", meta.URL)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithEC2IMDSRegion(), config.WithHTTPClient(awshttp.NewBuildableClient()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ec2.NewFromConfig(cfg).DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{}); err != nil {
		t.Fatal(err)
	}
	if c := s.Calls()[0]; c.AccessKey != ec2standin.AccessKey("i-gw2") || cfg.Region != "us-west-2" {
		t.Errorf("call by %s in %s", c.AccessKey, cfg.Region)
	}
}

func imdsRequest(m *ec2standin.IMDS, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w
}

func TestIMDSTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWorld(t, ec2standin.Config{}).IMDS("i-gw1")
		const token, ttl, id = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds", "/latest/meta-data/instance-id"
		for _, test := range []struct {
			what string
			w    *httptest.ResponseRecorder
			want int
		}{
			{"version 1", imdsRequest(m, "GET", id), 401},
			{"invented token", imdsRequest(m, "GET", id, token, "x"), 401},
			{"token by GET", imdsRequest(m, "GET", "/latest/api/token", ttl, "60"), 405},
			{"token without TTL", imdsRequest(m, "PUT", "/latest/api/token"), 400},
			{"token with a TTL too long", imdsRequest(m, "PUT", "/latest/api/token", ttl, "21601"), 400},
			{"token through a proxy", imdsRequest(m, "PUT", "/latest/api/token", ttl, "60", "X-Forwarded-For", "10.0.0.1"), 403},
			{"write", imdsRequest(m, "PUT", id), 405},
		} {
			if test.w.Code != test.want {
				t.Errorf("%s: %d, want %d", test.what, test.w.Code, test.want)
			}
		}
		tok := imdsRequest(m, "PUT", "/latest/api/token", ttl, "60").Body.String()
		if w := imdsRequest(m, "GET", id, token, tok); w.Code != 200 || w.Body.String() != "i-gw1" {
			t.Errorf("with token: %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Minute)
		if w := imdsRequest(m, "GET", id, token, tok); w.Code != 401 {
			t.Errorf("with an old token: %d", w.Code)
		}
	})
}

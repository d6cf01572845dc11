package ec2

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// Identity says who this gateway is in the VPC.
type Identity struct {
	Region string
	// Interface is the primary network interface of the gateway's instance.
	Interface string
	// Zone is the availability zone.
	Zone string
}

// Identify fills in what known leaves empty: the region from the SDK's default chain if it has one, the
// rest from the instance metadata service, version 2. The error says what to do.
func Identify(ctx context.Context, known Identity) (Identity, error) {
	cfg, err := load(ctx, known.Region, 1, nil)
	if err != nil {
		return known, err
	}
	known.Region = cfg.Region
	if known.Region != "" && known.Interface != "" && known.Zone != "" {
		return known, nil
	}
	// The SDK gives this client timeouts of its own when it gets no HTTP client.
	cfg.HTTPClient = nil
	m := metadata{imds.NewFromConfig(cfg)}
	if err := m.complete(ctx, &known); err != nil {
		return known, fmt.Errorf("%w; allow the pod to reach the instance metadata service (HttpTokens enabled, "+
			"hop limit 2 unless the pod uses the host network), or set --eni, --region and --zone", err)
	}
	return known, nil
}

type metadata struct{ client *imds.Client }

func (m metadata) complete(ctx context.Context, id *Identity) (err error) {
	if id.Region == "" {
		if id.Region, err = m.get(ctx, "placement/region"); err != nil {
			return err
		}
	}
	if id.Zone == "" {
		if id.Zone, err = m.get(ctx, "placement/availability-zone"); err != nil {
			return err
		}
	}
	if id.Interface != "" {
		return nil
	}
	mac, err := m.get(ctx, "mac")
	if err != nil {
		return err
	}
	id.Interface, err = m.get(ctx, "network/interfaces/macs/"+mac+"/interface-id")
	return err
}

func (m metadata) get(ctx context.Context, path string) (string, error) {
	out, err := m.client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return "", fmt.Errorf("read %s from the instance metadata service: %s", path, cut(err.Error()))
	}
	defer out.Content.Close()
	content, err := io.ReadAll(io.LimitReader(out.Content, 1024))
	if err != nil {
		return "", fmt.Errorf("read %s from the instance metadata service: %w", path, err)
	}
	value := strings.TrimSpace(string(content))
	if value == "" {
		return "", fmt.Errorf("read %s from the instance metadata service: it is empty", path)
	}
	return value, nil
}

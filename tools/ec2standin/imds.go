package ec2standin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// IMDS is the metadata service (version 2 only) that one instance sees. It is
// an http.Handler; serve it where AWS_EC2_METADATA_SERVICE_ENDPOINT points.
// It always tells the world as it is now.
type IMDS struct {
	server   *Server
	instance string

	mu     sync.Mutex
	serial uint64
	tokens map[string]time.Time // token to its end
}

const (
	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxTokenTTL    = 21600 // seconds
	maxTokens      = 1024

	// RoleName is the instance profile's role in security-credentials/.
	RoleName = "ec2standin"
)

// IMDS returns the metadata service for an instance. Its credentials'
// access key is AccessKey(instance), so the call log tells who called.
func (s *Server) IMDS(instance string) *IMDS {
	return &IMDS{server: s, instance: instance, tokens: map[string]time.Time{}}
}

// AccessKey is the access key that the metadata service gives to an instance.
func AccessKey(instance string) string { return fmt.Sprintf("ASIA%016X", hash(instance)) }

// ServeHTTP answers one request of the instance.
func (m *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "EC2ws")
	if r.URL.Path == "/latest/api/token" {
		m.serveToken(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if !m.valid(r.Header.Get(tokenHeader)) {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/latest/"), "/")
	content, ok := m.lookup(path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(content)) // a client that went away is its own business
}

// serveToken gives out a session token, to whom asks with PUT, from the
// instance itself and not through a proxy.
func (m *IMDS) serveToken(w http.ResponseWriter, r *http.Request) {
	ttl, err := strconv.Atoi(r.Header.Get(tokenTTLHeader))
	switch {
	case r.Method != http.MethodPut:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	case err != nil || ttl < 1 || ttl > maxTokenTTL:
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	w.Header().Set(tokenTTLHeader, strconv.Itoa(ttl))
	_, _ = w.Write([]byte(m.issue(time.Duration(ttl) * time.Second)))
}

func (m *IMDS) issue(ttl time.Duration) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if len(m.tokens) >= maxTokens {
		for t, end := range m.tokens {
			if now.After(end) || len(m.tokens) >= maxTokens {
				delete(m.tokens, t)
			}
		}
	}
	m.serial++
	token := fmt.Sprintf("standin-%016x-%d", hash(m.instance), m.serial)
	m.tokens[token] = now.Add(ttl)
	return token
}

func (m *IMDS) valid(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	end, ok := m.tokens[token]
	return ok && time.Now().Before(end)
}

// lookup returns the document at a path below /latest, or the listing of a
// directory.
func (m *IMDS) lookup(path string) (string, bool) {
	docs := m.documents()
	if d, ok := docs[path]; ok {
		return d, true
	}
	var names []string
	for p := range docs {
		rest, ok := strings.CutPrefix(p, path+"/")
		if !ok {
			continue
		}
		name, _, isDir := strings.Cut(rest, "/")
		if isDir {
			name += "/"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "\n"), len(names) > 0
}

// documents returns everything the service tells, by path below /latest. It is
// empty when the instance does not exist.
func (m *IMDS) documents() map[string]string {
	st := m.server.head.Load().state
	i, ok := st.instances[m.instance]
	if !ok {
		return nil
	}
	docs := map[string]string{
		"meta-data/instance-id":      i.ID,
		"meta-data/instance-type":    i.Type,
		"meta-data/ami-id":           derivedID("ami-", m.server.config.Region),
		"meta-data/placement/region": m.server.config.Region,
		"meta-data/services/domain":  "amazonaws.com",
	}
	for _, e := range st.enisOf(i.ID) {
		m.addInterface(docs, st, e)
	}
	credentials := map[string]string{
		"Code": "Success", "Type": "AWS-HMAC",
		"LastUpdated":     time.Now().UTC().Format(time.RFC3339),
		"Expiration":      time.Now().Add(6 * time.Hour).UTC().Format(time.RFC3339),
		"AccessKeyId":     AccessKey(i.ID),
		"SecretAccessKey": "stand-in-secret",
		"Token":           "stand-in-session-token",
	}
	docs["meta-data/iam/security-credentials/"+RoleName] = marshal(credentials)
	docs["meta-data/iam/info"] = marshal(map[string]string{
		"Code": "Success", "LastUpdated": credentials["LastUpdated"],
		"InstanceProfileArn": fmt.Sprintf("arn:aws:iam::%s:instance-profile/%s", m.server.config.AccountID, RoleName),
		"InstanceProfileId":  "AIPA" + AccessKey(RoleName)[4:],
	})
	docs["dynamic/instance-identity/document"] = marshal(map[string]any{
		"version": "2017-09-30", "accountId": m.server.config.AccountID, "region": m.server.config.Region,
		"instanceId": i.ID, "instanceType": i.Type, "architecture": "x86_64",
		"imageId": docs["meta-data/ami-id"], "privateIp": docs["meta-data/local-ipv4"],
		"availabilityZone": docs["meta-data/placement/availability-zone"], "pendingTime": "2026-01-01T00:00:00Z",
	})
	return docs
}

func (m *IMDS) addInterface(docs map[string]string, st *state, e ENI) {
	n := st.subnets[e.Subnet]
	v := st.vpcs[n.VPC]
	addresses, cidrs := []string{e.PrivateIP.String()}, []string{}
	for _, a := range e.SecondaryIPs {
		addresses = append(addresses, a.String())
	}
	for _, c := range v.CIDRs {
		if c.Addr().Is4() {
			cidrs = append(cidrs, c.String())
		}
	}
	base := "meta-data/network/interfaces/macs/" + e.MAC + "/"
	for name, value := range map[string]string{
		"device-number":          strconv.Itoa(e.DeviceIndex),
		"interface-id":           e.ID,
		"local-hostname":         m.server.privateDNS(addresses[0]),
		"local-ipv4s":            strings.Join(addresses, "\n"),
		"mac":                    e.MAC,
		"owner-id":               m.server.config.AccountID,
		"subnet-id":              n.ID,
		"subnet-ipv4-cidr-block": n.CIDR.String(),
		"vpc-id":                 v.ID,
		"vpc-ipv4-cidr-block":    cidrs[0],
		"vpc-ipv4-cidr-blocks":   strings.Join(cidrs, "\n"),
	} {
		docs[base+name] = value
	}
	if e.DeviceIndex != 0 {
		return
	}
	docs["meta-data/mac"] = e.MAC
	docs["meta-data/local-ipv4"] = addresses[0]
	docs["meta-data/local-hostname"] = m.server.privateDNS(addresses[0])
	docs["meta-data/hostname"] = docs["meta-data/local-hostname"]
	docs["meta-data/placement/availability-zone"] = n.Zone
	docs["meta-data/placement/availability-zone-id"] = zoneID(n.Zone)
}

// marshal encodes a document whose types cannot fail to encode.
func marshal(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return ""
	}
	return string(b)
}

package config

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// memberArgs are complete; args come behind them.
func memberArgs(args ...string) []string {
	return append([]string{
		"--dir=/d", "--name=one", "--listen=127.0.0.1:1", "--member=one=127.0.0.1:2", "--member=two=127.0.0.1:3",
		"--cacert=/ca", "--cert=/cert", "--key=/key",
	}, args...)
}

func TestParseMember(t *testing.T) {
	got, err := ParseMember(memberArgs("--election-timeout=2s", "--die-with-parent"), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	want := Member{
		Dir: "/d", Name: "one", Listen: netip.MustParseAddrPort("127.0.0.1:1"),
		Peers: []Peer{{"one", netip.MustParseAddrPort("127.0.0.1:2")}, {"two", netip.MustParseAddrPort("127.0.0.1:3")}},
		CA:    "/ca", Cert: "/cert", Key: "/key",
		HeartbeatInterval: 100 * time.Millisecond, ElectionTimeout: 2 * time.Second, DieWithParent: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseMemberNamesWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "--dir"},
		{memberArgs("--listen=nowhere"), `--listen "nowhere"`},
		{memberArgs("--name=three"), `--name "three": must be the name of a --member`},
		{memberArgs("--member=three"), `--member "three": must be NAME=IP:PORT`},
		{memberArgs("--member==127.0.0.1:4"), `must be NAME=IP:PORT`},
		{memberArgs("--cert="), "--cert"},
		{memberArgs("--heartbeat-interval=0s"), "--heartbeat-interval"},
		{memberArgs("--election-timeout=200ms"), "at least 5 times --heartbeat-interval=100ms"},
	} {
		_, err := ParseMember(tt.args, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", tt.args, err, tt.want)
		}
	}
}

func TestHelpForMembers(t *testing.T) {
	var out bytes.Buffer
	if _, err := ParseMember([]string{"--help"}, &out); !errors.Is(err, ErrHelp) {
		t.Fatalf("error %v", err)
	}
	for _, flag := range []string{"--dir", "--name", "--listen", "--member", "--cacert", "--cert", "--key", "--heartbeat-interval", "--election-timeout", "--die-with-parent"} {
		if !strings.Contains(out.String(), flag) {
			t.Errorf("help lacks %s", flag)
		}
	}
	out.Reset()
	if _, err := Parse([]string{"--help"}, &out); !errors.Is(err, ErrHelp) || !strings.Contains(out.String(), "controlplane etcd") {
		t.Errorf("the control plane's help does not tell of etcd (%v)", err)
	}
}

package app_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/ec2policy"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/app"
)

// The policy can be had before there is any gateway.
func TestPolicyOffline(t *testing.T) {
	const where = "--region=eu-west-1 --account=111122223333 "
	home := ec2policy.Config{Region: "eu-west-1", Account: "111122223333", Tables: []string{"rtb-1", "rtb-2"}}
	all := home
	all.ManageLists, all.ManageCheck, all.Tables = true, true, []string{"rtb-1", "rtb-2", "rtb-3"}
	named := home
	named.ManageCheck, named.Interfaces = true, []string{"eni-1", "eni-2"}
	for _, c := range []struct {
		args, out, errOut string
		code              int
	}{
		{args: where + "--route-tables=rtb-1,rtb-2", out: home.Document()},
		{args: where + "--route-tables=zone-a=rtb-1,zone-b=rtb-2", out: home.Document()},
		{args: where + "--route-tables=rtb-1,rtb-2 --floating-vtep-route-tables=rtb-3,rtb-1 --manage-prefix-list --manage-source-dest-check", out: all.Document()},
		{args: where + "--route-tables=rtb-1,rtb-2 --manage-source-dest-check --gateway-enis=eni-1,eni-2", out: named.Document()},
		{args: where, code: 2, errOut: "--route-tables"},
		{args: where + "--route-tables=*", code: 2, errOut: "such as rtb-0123456789abcdef0"},
		{args: where + "--route-tables=rtb-1 --gateway-enis=*", code: 2, errOut: "such as eni-0123456789abcdef0"},
		{args: "--region=* --account=111122223333 --route-tables=rtb-1", code: 2, errOut: "such as eu-west-1"},
		{args: "--region=eu-west-1 --account=* --route-tables=rtb-1", code: 2, errOut: "such as 111122223333"},
		{args: "--region=eu-west-1 --route-tables=rtb-1", code: 2, errOut: "--account"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, errOut bytes.Buffer
			code := app.Run(t.Context(), append([]string{"iam-policy", "offline"}, strings.Fields(c.args)...), strings.NewReader(""), &out, &errOut)
			if code != c.code || out.String() != c.out || !strings.Contains(errOut.String(), c.errOut) || (c.errOut == "") != (errOut.Len() == 0) {
				t.Errorf("exit code %d, output:\n%s%s\nwant %d:\n%s%s", code, out.String(), errOut.String(), c.code, c.out, c.errOut)
			}
		})
	}
}

package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"go.opentelemetry.io/otel/attribute"

	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// listVersion names entries that never change.
type listVersion struct {
	id      string
	version int64
}

// ReadLists reads prefix lists with all their entries: those with the ids, and those that carry [plan.ListTag] and
// one of the names. Entries are asked for only when the list's version is a new one.
func (c *Client) ReadLists(ctx context.Context, ids, names []string) ([]plan.PrefixList, plan.Result) {
	found := make(map[string]plan.PrefixList)
	for _, filters := range [][]types.Filter{
		filter("prefix-list-id", ids),
		append(filter("prefix-list-name", names), types.Filter{Name: aws.String("tag:" + plan.ListTag), Values: []string{"true"}}),
	} {
		if len(filters[0].Values) == 0 {
			continue
		}
		if result := c.describeLists(ctx, filters, found); result.Outcome != plan.Done {
			return nil, result
		}
	}
	entries := make(map[listVersion][]netip.Prefix)
	var lists []plan.PrefixList
	for _, l := range found {
		version := listVersion{l.ID, l.Version}
		known, cached := c.entries[version]
		if !cached || l.Version == 0 {
			var result plan.Result
			if known, result = c.readEntries(ctx, version); result.Outcome != plan.Done {
				return nil, result
			}
		}
		entries[version] = known
		l.Entries = known
		lists = append(lists, l)
	}
	c.entries = entries
	slices.SortFunc(lists, func(a, b plan.PrefixList) int { return strings.Compare(a.ID, b.ID) })
	return lists, plan.Result{Outcome: plan.Done}
}

func filter(name string, values []string) []types.Filter {
	return []types.Filter{{Name: aws.String(name), Values: values}}
}

func (c *Client) describeLists(ctx context.Context, filters []types.Filter, found map[string]plan.PrefixList) plan.Result {
	pages := ec2.NewDescribeManagedPrefixListsPaginator(c.api, &ec2.DescribeManagedPrefixListsInput{Filters: filters})
	for pages.HasMorePages() {
		var page *ec2.DescribeManagedPrefixListsOutput
		result := c.call(ctx, plan.DescribeManagedPrefixLists, func(ctx context.Context) (err error) {
			page, err = pages.NextPage(ctx, c.patiently)
			return err
		})
		if result.Outcome != plan.Done {
			return result
		}
		for _, l := range page.PrefixLists {
			if list := listOf(l); l.State != types.PrefixListStateDeleteComplete {
				found[list.ID] = list
			}
		}
	}
	return plan.Result{Outcome: plan.Done}
}

func listOf(l types.ManagedPrefixList) plan.PrefixList {
	list := plan.PrefixList{
		ID: aws.ToString(l.PrefixListId), Name: aws.ToString(l.PrefixListName), IPv6: aws.ToString(l.AddressFamily) == "IPv6",
		Version: aws.ToInt64(l.Version), Max: int(aws.ToInt32(l.MaxEntries)), Tagged: tagged(l.Tags, plan.ListTag),
		Busy:     strings.HasSuffix(string(l.State), "-in-progress"),
		Creating: l.State == types.PrefixListStateCreateInProgress,
	}
	if strings.HasSuffix(string(l.State), "-failed") {
		list.Failure = string(l.State)
		if why := aws.ToString(l.StateMessage); why != "" {
			list.Failure += ": " + cut(why)
		}
	}
	return list
}

func (c *Client) readEntries(ctx context.Context, of listVersion) ([]netip.Prefix, plan.Result) {
	input := &ec2.GetManagedPrefixListEntriesInput{PrefixListId: aws.String(of.id)}
	if of.version > 0 {
		input.TargetVersion = aws.Int64(of.version)
	}
	pages := ec2.NewGetManagedPrefixListEntriesPaginator(c.api, input)
	var entries []netip.Prefix
	for pages.HasMorePages() {
		var page *ec2.GetManagedPrefixListEntriesOutput
		result := c.call(ctx, plan.GetManagedPrefixListEntries, func(ctx context.Context) (err error) {
			page, err = pages.NextPage(ctx, c.patiently)
			return err
		})
		if result.Outcome != plan.Done {
			return nil, result
		}
		for _, e := range page.Entries {
			prefix, err := netip.ParsePrefix(aws.ToString(e.Cidr))
			if err != nil {
				return nil, plan.Result{Outcome: plan.Failed, Detail: fmt.Sprintf("prefix list %s has the entry %q", of.id, aws.ToString(e.Cidr))}
			}
			entries = append(entries, prefix.Masked())
		}
	}
	return entries, plan.Result{Outcome: plan.Done}
}

// WriteList makes, changes or deletes a prefix list; id is the new one's. open is as for Write.
func (c *Client) WriteList(ctx context.Context, w plan.WriteList, open func() bool) (id string, result plan.Result) {
	action := [...]string{
		plan.CreateList: plan.CreateManagedPrefixList, plan.ModifyList: plan.ModifyManagedPrefixList,
		plan.ResizeList: plan.ModifyManagedPrefixList, plan.DeleteList: plan.DeleteManagedPrefixList,
	}[w.Verb]
	attributes := []attribute.KeyValue{
		attribute.String("ec2.prefix_list", w.ID), attribute.String("ec2.prefix_list_name", w.Name), attribute.Int64("epoch", int64(w.Epoch)),
	}
	result = c.write(ctx, action, false, open, attributes, func(ctx context.Context) (err error) {
		id, err = c.list(ctx, w)
		return err
	})
	return id, result
}

func (c *Client) list(ctx context.Context, w plan.WriteList) (string, error) {
	switch w.Verb {
	case plan.CreateList:
		family := "IPv4"
		if w.IPv6 {
			family = "IPv6"
		}
		out, err := c.api.CreateManagedPrefixList(ctx, &ec2.CreateManagedPrefixListInput{
			PrefixListName: aws.String(w.Name), AddressFamily: aws.String(family), MaxEntries: aws.Int32(int32(w.Max)),
			Entries: added(w.Add), TagSpecifications: listTags(), ClientToken: aws.String(token(w)),
		})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.PrefixList.PrefixListId), nil
	case plan.ModifyList:
		var remove []types.RemovePrefixListEntry
		for _, p := range w.Remove {
			remove = append(remove, types.RemovePrefixListEntry{Cidr: aws.String(p.String())})
		}
		_, err := c.api.ModifyManagedPrefixList(ctx, &ec2.ModifyManagedPrefixListInput{
			PrefixListId: aws.String(w.ID), CurrentVersion: aws.Int64(w.Version), AddEntries: added(w.Add), RemoveEntries: remove,
		})
		return w.ID, err
	case plan.ResizeList:
		_, err := c.api.ModifyManagedPrefixList(ctx, &ec2.ModifyManagedPrefixListInput{
			PrefixListId: aws.String(w.ID), MaxEntries: aws.Int32(int32(w.Max)),
		})
		return w.ID, err
	}
	_, err := c.api.DeleteManagedPrefixList(ctx, &ec2.DeleteManagedPrefixListInput{PrefixListId: aws.String(w.ID)})
	return w.ID, err
}

// token makes a list that is asked for twice be made once. EC2 may answer a token that it knows with the list that was
// made for it, though that is gone, so the next list takes another.
func token(w plan.WriteList) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s serial %d", w, w.Serial))
	return hex.EncodeToString(sum[:])
}

func added(prefixes []netip.Prefix) []types.AddPrefixListEntry {
	var entries []types.AddPrefixListEntry
	for _, p := range prefixes {
		entries = append(entries, types.AddPrefixListEntry{Cidr: aws.String(p.String())})
	}
	return entries
}

func listTags() []types.TagSpecification {
	tag := func(key string) types.Tag { return types.Tag{Key: aws.String(key), Value: aws.String("true")} }
	return []types.TagSpecification{{ResourceType: types.ResourceTypePrefixList, Tags: []types.Tag{tag(plan.GatewayTag), tag(plan.ListTag)}}}
}

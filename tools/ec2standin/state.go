package ec2standin

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// state is the world. A published one is never changed: clone, change the
// clone, publish that. Values in its maps are replaced, not modified.
type state struct {
	revision  uint64
	vpcs      map[string]VPC
	subnets   map[string]Subnet
	tables    map[string]table
	instances map[string]Instance
	enis      map[string]ENI
	gateways  map[string]Gateway
	lists     map[string]list
	tokens    map[string]clientToken
}

// table is a route table with the routes that are not implied.
type table struct {
	RouteTable
	routes map[destination]Target
}

func (st *state) clone() *state {
	return &state{
		revision:  st.revision,
		vpcs:      cloned(st.vpcs),
		subnets:   cloned(st.subnets),
		tables:    cloned(st.tables),
		instances: cloned(st.instances),
		enis:      cloned(st.enis),
		gateways:  cloned(st.gateways),
		lists:     cloned(st.lists),
		tokens:    cloned(st.tokens),
	}
}

// cloned copies a map; the copy of nil can be written to.
func cloned[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

// fresh says whether id may be given to a new thing of a kind.
func fresh[V any](m map[string]V, id string, prefixes ...string) error {
	if !hasPrefix(id, prefixes...) {
		return fmt.Errorf("id %q: must begin with %s", id, strings.Join(prefixes, ", "))
	}
	if _, taken := m[id]; taken {
		return fmt.Errorf("id %q: exists already", id)
	}
	return nil
}

func hasPrefix(id string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return len(id) > len(p) && strings.HasPrefix(id, p) })
}

func missing(kind, id string) error { return fmt.Errorf("%s %q: does not exist", kind, id) }

func (st *state) addVPC(v VPC) error {
	if err := fresh(st.vpcs, v.ID, "vpc-"); err != nil {
		return err
	}
	if len(v.CIDRs) == 0 || !v.CIDRs[0].Addr().Is4() {
		return fmt.Errorf("vpc %q: needs an IPv4 CIDR first", v.ID)
	}
	v.CIDRs, v.Tags = slices.Clone(v.CIDRs), maps.Clone(v.Tags)
	for i := range v.CIDRs {
		v.CIDRs[i] = v.CIDRs[i].Masked()
	}
	st.vpcs[v.ID] = v
	return nil
}

func (st *state) addVPCCIDR(id string, cidr netip.Prefix) error {
	v, ok := st.vpcs[id]
	if !ok {
		return missing("vpc", id)
	}
	v.CIDRs = append(slices.Clone(v.CIDRs), cidr.Masked())
	st.vpcs[id] = v
	return nil
}

func (st *state) addSubnet(n Subnet) error {
	if err := fresh(st.subnets, n.ID, "subnet-"); err != nil {
		return err
	}
	v, ok := st.vpcs[n.VPC]
	if !ok {
		return missing("vpc", n.VPC)
	}
	n.CIDR = n.CIDR.Masked()
	if !v.covers(n.CIDR) {
		return fmt.Errorf("subnet %q: %s is not within the CIDRs of %s", n.ID, n.CIDR, v.ID)
	}
	n.Tags = maps.Clone(n.Tags)
	st.subnets[n.ID] = n
	return nil
}

// covers tells whether a prefix lies within one of the VPC's CIDRs.
func (v VPC) covers(p netip.Prefix) bool {
	return slices.ContainsFunc(v.CIDRs, func(c netip.Prefix) bool { return c.Bits() <= p.Bits() && c.Contains(p.Addr()) })
}

func (st *state) addTable(t RouteTable) error {
	if err := fresh(st.tables, t.ID, "rtb-"); err != nil {
		return err
	}
	if _, ok := st.vpcs[t.VPC]; !ok {
		return missing("vpc", t.VPC)
	}
	if t.Main {
		if o, ok := st.mainTable(t.VPC); ok {
			return fmt.Errorf("table %q: %s is the main table of %s", t.ID, o.ID, t.VPC)
		}
	}
	subnets := t.Subnets
	t.Subnets, t.Tags = nil, maps.Clone(t.Tags)
	st.tables[t.ID] = table{RouteTable: t, routes: map[destination]Target{}}
	for _, n := range subnets {
		if err := st.associate(t.ID, n); err != nil {
			return err
		}
	}
	return nil
}

func (st *state) mainTable(vpc string) (table, bool) {
	for _, t := range st.tables {
		if t.Main && t.VPC == vpc {
			return t, true
		}
	}
	return table{}, false
}

func (st *state) deleteTable(id string) error {
	if _, ok := st.tables[id]; !ok {
		return missing("table", id)
	}
	delete(st.tables, id)
	return nil
}

func (st *state) associate(tableID, subnet string) error {
	t, ok := st.tables[tableID]
	if !ok {
		return missing("table", tableID)
	}
	n, ok := st.subnets[subnet]
	if !ok {
		return missing("subnet", subnet)
	}
	if n.VPC != t.VPC {
		return fmt.Errorf("table %q and subnet %q: belong to different VPCs", tableID, subnet)
	}
	for id, o := range st.tables {
		if i := slices.Index(o.Subnets, subnet); i >= 0 {
			o.Subnets = slices.Delete(slices.Clone(o.Subnets), i, i+1)
			st.tables[id] = o
		}
	}
	t = st.tables[tableID]
	t.Subnets = append(slices.Clone(t.Subnets), subnet)
	slices.Sort(t.Subnets)
	st.tables[tableID] = t
	return nil
}

func (st *state) addInstance(i Instance) error {
	if err := fresh(st.instances, i.ID, "i-"); err != nil {
		return err
	}
	i.State = orElse(i.State, InstanceRunning)
	i.Type = orElse(i.Type, "m7i.large")
	i.Tags = maps.Clone(i.Tags)
	st.instances[i.ID] = i
	return nil
}

func (st *state) setInstanceState(id string, to InstanceState) error {
	i, ok := st.instances[id]
	if !ok {
		return missing("instance", id)
	}
	if _, known := instanceStateCodes()[to]; !known {
		return fmt.Errorf("instance %q: no such state: %q", id, to)
	}
	i.State = to
	st.instances[id] = i
	if to != InstanceTerminated {
		return nil
	}
	for _, e := range st.enisOf(id) {
		if e.DeviceIndex == 0 {
			delete(st.enis, e.ID)
			continue
		}
		e.Instance, e.DeviceIndex = "", 0
		st.enis[e.ID] = e
	}
	return nil
}

// enisOf returns an instance's interfaces by device index.
func (st *state) enisOf(instance string) []ENI {
	var out []ENI
	for _, e := range st.enis {
		if e.Instance == instance && instance != "" {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b ENI) int { return cmp.Compare(a.DeviceIndex, b.DeviceIndex) })
	return out
}

func (st *state) addENI(e ENI) error {
	if err := fresh(st.enis, e.ID, "eni-"); err != nil {
		return err
	}
	n, ok := st.subnets[e.Subnet]
	if !ok {
		return missing("subnet", e.Subnet)
	}
	if !n.CIDR.Contains(e.PrivateIP) {
		return fmt.Errorf("eni %q: address %s is not in %s (%s)", e.ID, e.PrivateIP, n.ID, n.CIDR)
	}
	instance, index := e.Instance, e.DeviceIndex
	e.Instance, e.DeviceIndex = "", 0
	e.MAC = orElse(e.MAC, macOf(e.ID))
	e.SecondaryIPs, e.Tags = slices.Clone(e.SecondaryIPs), maps.Clone(e.Tags)
	st.enis[e.ID] = e
	if instance == "" {
		return nil
	}
	return st.attachENI(e.ID, instance, index)
}

// macOf derives a locally administered unicast MAC from an id.
func macOf(id string) string {
	h := hash(id)
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", byte(h), byte(h>>8), byte(h>>16), byte(h>>24), byte(h>>32))
}

func (st *state) attachENI(id, instance string, index int) error {
	e, ok := st.enis[id]
	if !ok {
		return missing("eni", id)
	}
	if instance != "" {
		if _, ok := st.instances[instance]; !ok {
			return missing("instance", instance)
		}
		for _, o := range st.enisOf(instance) {
			if o.DeviceIndex == index && o.ID != id {
				return fmt.Errorf("eni %q: %s is at device index %d of %s", id, o.ID, index, instance)
			}
		}
	}
	e.Instance, e.DeviceIndex = instance, index
	st.enis[id] = e
	return nil
}

func (st *state) deleteENI(id string) error {
	if _, ok := st.enis[id]; !ok {
		return missing("eni", id)
	}
	delete(st.enis, id)
	return nil
}

func (st *state) setSourceDestCheck(id string, on bool) error {
	e, ok := st.enis[id]
	if !ok {
		return missing("eni", id)
	}
	e.SourceDestCheck = on
	st.enis[id] = e
	return nil
}

func (st *state) addGateway(g Gateway) error {
	if err := fresh(st.gateways, g.ID, "igw-", "vgw-", "nat-", "tgw-", "pcx-"); err != nil {
		return err
	}
	if _, ok := st.vpcs[g.VPC]; !ok && g.VPC != "" {
		return missing("vpc", g.VPC)
	}
	st.gateways[g.ID] = g
	return nil
}

func (st *state) deleteGateway(id string) error {
	if _, ok := st.gateways[id]; !ok {
		return missing("gateway", id)
	}
	delete(st.gateways, id)
	return nil
}

func (st *state) setRoute(tableID string, to netip.Prefix, via Target) error {
	t, ok := st.tables[tableID]
	if !ok {
		return missing("table", tableID)
	}
	to = to.Masked()
	if slices.Contains(st.vpcs[t.VPC].CIDRs, to) {
		return fmt.Errorf("table %q: %s is a local route", tableID, to)
	}
	st.putRoute(t, destination{prefix: to}, via)
	return nil
}

// putRoute writes a route without any check.
func (st *state) putRoute(t table, to destination, via Target) {
	t.routes = maps.Clone(t.routes)
	t.routes[to] = via
	st.tables[t.ID] = t
}

// dropRoute deletes a route if it is there.
func (st *state) dropRoute(t table, to destination) {
	t.routes = maps.Clone(t.routes)
	delete(t.routes, to)
	st.tables[t.ID] = t
}

func (st *state) removeRoute(tableID string, to netip.Prefix) error {
	t, ok := st.tables[tableID]
	if !ok {
		return missing("table", tableID)
	}
	st.dropRoute(t, destination{prefix: to.Masked()})
	return nil
}

// routeState tells whether a target can carry traffic now.
func (st *state) routeState(t Target) RouteState {
	switch t.Kind {
	case TargetLocal:
		return RouteActive
	case TargetENI:
		e, ok := st.enis[t.ID]
		if ok && st.instances[e.Instance].State == InstanceRunning {
			return RouteActive
		}
	default:
		if _, ok := st.gateways[t.ID]; ok {
			return RouteActive
		}
	}
	return RouteBlackhole
}

// routes returns all routes of a table to a CIDR, implied ones included, by
// destination.
func (st *state) routes(t table) []Route {
	out := make([]Route, 0, len(t.routes)+2)
	for _, c := range st.vpcs[t.VPC].CIDRs {
		out = append(out, Route{Destination: c, Target: Target{Kind: TargetLocal}, State: RouteActive})
	}
	for to, via := range t.routes {
		if to.list == "" {
			out = append(out, Route{Destination: to.prefix, Target: via, State: st.routeState(via)})
		}
	}
	slices.SortFunc(out, func(a, b Route) int { return a.Destination.Compare(b.Destination) })
	return out
}

// listRoutes returns all routes of a table to a prefix list, by its id.
func (st *state) listRoutes(t table) []ListRoute {
	var out []ListRoute
	for to, via := range t.routes {
		if to.list != "" {
			out = append(out, ListRoute{PrefixList: to.list, Entries: st.lists[to.list].cidrs(), Target: via, State: st.routeState(via)})
		}
	}
	slices.SortFunc(out, func(a, b ListRoute) int { return cmp.Compare(a.PrefixList, b.PrefixList) })
	return out
}

// sorted returns a map's values by key.
func sorted[V any](m map[string]V) []V {
	out := make([]V, 0, len(m))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	return out
}

func (st *state) snapshot() Snapshot {
	s := Snapshot{
		Revision:  st.revision,
		VPCs:      sorted(st.vpcs),
		Subnets:   sorted(st.subnets),
		Instances: sorted(st.instances),
		ENIs:      sorted(st.enis),
		Gateways:  sorted(st.gateways),
	}
	for i := range s.VPCs {
		s.VPCs[i].CIDRs, s.VPCs[i].Tags = slices.Clone(s.VPCs[i].CIDRs), maps.Clone(s.VPCs[i].Tags)
	}
	for i := range s.Subnets {
		s.Subnets[i].Tags = maps.Clone(s.Subnets[i].Tags)
	}
	for i := range s.Instances {
		s.Instances[i].Tags = maps.Clone(s.Instances[i].Tags)
	}
	for i := range s.ENIs {
		s.ENIs[i].SecondaryIPs, s.ENIs[i].Tags = slices.Clone(s.ENIs[i].SecondaryIPs), maps.Clone(s.ENIs[i].Tags)
	}
	for _, t := range sorted(st.tables) {
		meta := t.RouteTable
		meta.Subnets, meta.Tags = slices.Clone(meta.Subnets), maps.Clone(meta.Tags)
		s.RouteTables = append(s.RouteTables, TableSnapshot{RouteTable: meta, Routes: st.routes(t), ListRoutes: st.listRoutes(t)})
	}
	for _, l := range sorted(st.lists) {
		l.Entries, l.Tags = slices.Clone(l.Entries), maps.Clone(l.Tags)
		s.PrefixLists = append(s.PrefixLists, l.PrefixList)
	}
	return s
}

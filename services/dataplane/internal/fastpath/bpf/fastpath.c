// The fast path: takes packets of the tunnel at the NIC, wraps or unwraps them in place, and sends them off by the same NIC.
//
// Whatever is not plainly a packet to be forwarded between the VPC and a pod goes on its way through the kernel (TCX_NEXT), untouched: all
// changes are made after the last decision. So a packet is forwarded by the one way or by the other, with the same outcome, and
// no decision to drop is taken here. What the tunnel's guard drops, it drops and counts on the kernel's way.
//
// Who is where, this program asks the kernel's routes: there is no copy that could be out of date.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Newer than the headers of some build machines (include/uapi/linux/bpf.h).
#define TCX_NEXT -1
#define TCX_DROP 2 // where the verifier wants to hear what happens if memory were not there that has just been made
#define AF_INET 2
#define PACKET_HOST 0
#define IP_DF 0x4000
#define IP_MF_OR_OFFSET 0x3fff
#define TCP_FLAGS 13 // offset in the header
#define TCP_SYN 2
#define ECN_MASK 3
#define ECN_ECT_1 1
#define ECN_ECT_0 2
#define ECN_CE 3
#define VXLAN_HAS_VNI 0x08000000 // in host order; all other flags must be 0 (RFC 7348)

struct vxlanhdr {
	__be32 flags;
	__be32 vni; // in the upper three bytes
};

// What is put around a packet, and taken off, behind the Ethernet header of the frame.
struct shell {
	struct iphdr ip;
	struct udphdr udp;
	struct vxlanhdr vxlan;
	struct ethhdr eth;
} __attribute__((packed, aligned(2))); // the Ethernet header before it leaves it at an odd multiple of two

// Set when the program is loaded.
volatile const __u32 tunnel_ifindex;
volatile const __u8 tunnel_mac[ETH_ALEN];
volatile const __be32 local_addr; // outer source address
volatile const __be32 node_addr;  // the host's own; may be the same
volatile const __be16 port;
volatile const __be32 vni; // in the upper three bytes
volatile const __u8 outer_ttl;
volatile const bool outer_df; // whether routers may not fragment outer packets
volatile const __u16 port_from, port_to; // outer source ports, the upper bound excluded, as the kernel chooses them
volatile const bool unwrap_large; // unwrap also packets that are still to be cut up
// The self-test has no routes: for it this is the remote end, and the next hop, of everything.
volatile const __be32 sample_hop;

// The VPC's networks: the destinations that packets out of the tunnel may have.
struct network {
	__u32 bits;
	__be32 addr;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network);
	__type(value, __u8);
} vpc SEC(".maps");

struct count {
	__u64 packets; // one that is still to be cut up counts as one
	__u64 bytes;   // from the inner Ethernet header on
};

enum { UNWRAPPED, WRAPPED, DIRECTIONS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DIRECTIONS);
	__type(key, __u32);
	__type(value, struct count);
} counts SEC(".maps");

static __always_inline void count(__u32 direction, __u32 bytes)
{
	struct count *c = bpf_map_lookup_elem(&counts, &direction);
	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

// route tells the next hop that the kernel has for a packet that came in by the NIC, or 0: when it leads to another interface than ifindex, when
// length is above the MTU, and when the kernel would not simply forward the packet (an address of this host, a broadcast, unreachable,
// forwarding switched off).
static __always_inline __be32 route(struct __sk_buff *skb, __be32 src, __be32 dst, __u8 tos, __u16 length, __u32 ifindex)
{
	if (sample_hop)
		return sample_hop;
	struct bpf_fib_lookup lookup = {
		.family = AF_INET,
		.ifindex = skb->ifindex,
		.ipv4_src = src,
		.ipv4_dst = dst,
		.tos = tos & ~ECN_MASK,
		.tot_len = length,
	};
	if (bpf_fib_lookup(skb, &lookup, sizeof(lookup), BPF_FIB_LOOKUP_SKIP_NEIGH) != BPF_FIB_LKUP_RET_SUCCESS || lookup.ifindex != ifindex)
		return 0;
	return lookup.ipv4_dst;
}

// send hands the packet to the neighbour on the interface that it came from. The kernel finds out its address, as for any other packet.
static __always_inline int send(struct __sk_buff *skb, __be32 hop)
{
	struct bpf_redir_neigh neighbour = { .nh_family = AF_INET, .ipv4_nh = hop };
	return bpf_redirect_neigh(skb->ifindex, &neighbour, sizeof(neighbour), 0);
}

static __always_inline __u32 sum_header(const void *ip)
{
	const __u16 *words = ip;
	__u32 sum = 0;
#pragma unroll
	for (int i = 0; i < sizeof(struct iphdr) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

// simple tells whether this is a whole IPv4 packet of this length with a plain, right header.
static __always_inline bool simple(const struct iphdr *ip, __u32 length)
{
	return ip->version == 4 && ip->ihl == 5 && !(ip->frag_off & bpf_htons(IP_MF_OR_OFFSET)) && bpf_ntohs(ip->tot_len) == length &&
	       sum_header(ip) == 0xffff;
}

// martian tells whether no packet from another host may have this source.
static __always_inline bool martian(__be32 src)
{
	__u8 net = bpf_ntohl(src) >> 24;
	return net == 0 || net == 127 || net >= 224 || src == local_addr || src == node_addr;
}

// sent_length is how long the packet will be when it leaves the NIC, after it may have been cut up; 0 when that is unknown. It is so, too, for
// what opens a connection: the kernel may have to bound its segment size.
static __always_inline __u32 sent_length(struct __sk_buff *skb, const struct iphdr *ip, const void *end)
{
	const __u8 *transport = (const void *)(ip + 1);
	__u32 header = sizeof(struct udphdr);
	if (ip->protocol == IPPROTO_TCP) {
		if ((const void *)(transport + TCP_FLAGS + 1) > end || transport[TCP_FLAGS] & TCP_SYN)
			return 0;
		header = (transport[12] >> 4) * 4;
	} else if (skb->gso_size && ip->protocol != IPPROTO_UDP) {
		return 0;
	}
	return skb->gso_size ? sizeof(*ip) + header + skb->gso_size : bpf_ntohs(ip->tot_len);
}

static __always_inline void decrease_ttl(struct iphdr *ip)
{
	__u32 check = ip->check + bpf_htons(0x0100);
	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}

// unwrap takes a packet out of the tunnel. The inner source must be behind the outer one, by the routes, and the inner destination in the
// VPC: that is what the guard demands.
static __always_inline int unwrap(struct __sk_buff *skb, const struct shell *shell, const void *end)
{
	const struct iphdr *inner = (const void *)(shell + 1);
	__u32 length = skb->len - sizeof(struct ethhdr) - sizeof(*shell);
	if ((const void *)(inner + 1) > end)
		return TCX_NEXT;
	if (shell->udp.check || bpf_ntohs(shell->udp.len) != skb->len - sizeof(struct ethhdr) - sizeof(struct iphdr))
		return TCX_NEXT;
	if (shell->vxlan.flags != bpf_htonl(VXLAN_HAS_VNI) || shell->vxlan.vni != vni)
		return TCX_NEXT;
	if (shell->eth.h_proto != bpf_htons(ETH_P_IP))
		return TCX_NEXT;
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		if (shell->eth.h_dest[i] != tunnel_mac[i])
			return TCX_NEXT;
	// What the outer header tells of congestion is carried over by the kernel (RFC 6040, figure 4).
	__u8 outer = shell->ip.tos & ECN_MASK;
	if (outer == ECN_CE || (outer == ECN_ECT_1 && (inner->tos & ECN_MASK) == ECN_ECT_0))
		return TCX_NEXT;
	if (!simple(inner, length) || inner->ttl <= 1)
		return TCX_NEXT;
	if (skb->gso_size && !unwrap_large)
		return TCX_NEXT;
	__u32 sent = sent_length(skb, inner, end);
	if (!sent || sent > 0xffff)
		return TCX_NEXT;
	struct network to = { .bits = 32, .addr = inner->daddr };
	if (!bpf_map_lookup_elem(&vpc, &to))
		return TCX_NEXT;
	// The way back to the source: into the tunnel, to the node that it comes from.
	if (route(skb, inner->daddr, inner->saddr, 0, 1, tunnel_ifindex) != shell->ip.saddr)
		return TCX_NEXT;
	__be32 hop = route(skb, inner->saddr, inner->daddr, inner->tos, sent, skb->ifindex);
	if (!hop)
		return TCX_NEXT;
	if (bpf_skb_adjust_room(skb, -(__s32)sizeof(struct shell), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return TCX_NEXT;
	struct iphdr *ip = (void *)(long)skb->data + sizeof(struct ethhdr);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return TCX_DROP;
	decrease_ttl(ip);
	count(UNWRAPPED, sizeof(struct ethhdr) + length);
	return send(skb, hop);
}

// source_port spreads flows over ports as the kernel does (udp_flow_src_port in include/net/udp.h), so that a flow has the same port on
// both ways.
static __always_inline __be16 source_port(struct __sk_buff *skb)
{
	__u32 hash = bpf_get_hash_recalc(skb);
	hash ^= hash << 16;
	return bpf_htons((((__u64)hash * (port_to - port_from)) >> 32) + port_from);
}

// wrap puts a packet into the tunnel.
static __always_inline int wrap(struct __sk_buff *skb, const struct iphdr *ip, const void *end)
{
	__u32 length = bpf_ntohs(ip->tot_len);
	__u32 wrapped = length + sizeof(struct shell);
	__u32 sent = sent_length(skb, ip, end);
	if (ip->ttl <= 1 || martian(ip->saddr) || !sent || sent > 0xffff || wrapped > 0xffff)
		return TCX_NEXT;
	__be32 remote = route(skb, ip->saddr, ip->daddr, ip->tos, sent, tunnel_ifindex);
	if (!remote)
		return TCX_NEXT;
	__be32 hop = route(skb, local_addr, remote, 0, sent + sizeof(struct shell), skb->ifindex);
	__be16 from = source_port(skb);
	if (!hop || !from)
		return TCX_NEXT;
	// As the kernel does: no DSCP outside, and the ECN field of the packet, but for congestion that it has met already.
	__u8 ecn = ip->tos & ECN_MASK;
	struct shell shell = {
		.ip = {
			.version = 4,
			.ihl = 5,
			.tos = ecn == ECN_CE ? ECN_ECT_0 : ecn,
			.tot_len = bpf_htons(wrapped),
			.id = bpf_get_prandom_u32(),
			.frag_off = outer_df ? bpf_htons(IP_DF) : 0,
			.ttl = outer_ttl,
			.protocol = IPPROTO_UDP,
			.saddr = local_addr,
			.daddr = remote,
		},
		.udp = {
			.source = from,
			.dest = port,
			.len = bpf_htons(wrapped - sizeof(struct iphdr)),
		},
		.vxlan = { .flags = bpf_htonl(VXLAN_HAS_VNI), .vni = vni },
		.eth = { .h_proto = bpf_htons(ETH_P_IP) },
	};
	shell.ip.check = ~sum_header(&shell.ip);
	// The remote end's MAC follows from its address, as ours does (netaddr.VTEPMAC).
	shell.eth.h_dest[0] = tunnel_mac[0];
	shell.eth.h_dest[1] = tunnel_mac[1];
	__builtin_memcpy(shell.eth.h_dest + 2, &remote, sizeof(remote));
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++)
		shell.eth.h_source[i] = tunnel_mac[i];
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
		      BPF_F_ADJ_ROOM_ENCAP_L2(sizeof(struct ethhdr)) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	if (bpf_skb_adjust_room(skb, sizeof(shell), BPF_ADJ_ROOM_MAC, flags))
		return TCX_NEXT;
	struct shell *at = (void *)(long)skb->data + sizeof(struct ethhdr);
	struct iphdr *inner = (void *)(at + 1);
	if ((void *)(inner + 1) > (void *)(long)skb->data_end)
		return TCX_DROP;
	__builtin_memcpy(at, &shell, sizeof(shell));
	decrease_ttl(inner);
	count(WRAPPED, sizeof(struct ethhdr) + length);
	return send(skb, hop);
}

SEC("tcx/ingress")
int forward(struct __sk_buff *skb)
{
	// Headers of interest are at most as long as this; the last is TCP's.
	const __u32 headers = sizeof(struct ethhdr) + sizeof(struct shell) + sizeof(struct iphdr) + 20;
	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TCX_NEXT;
	__u32 want = skb->len < headers ? skb->len : headers;
	if (skb->data_end - skb->data < want && bpf_skb_pull_data(skb, want))
		return TCX_NEXT;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	if ((void *)(ip + 1) > end || !simple(ip, skb->len - sizeof(struct ethhdr)))
		return TCX_NEXT;
	if (ip->daddr != local_addr)
		return wrap(skb, ip, end);
	struct shell *shell = (void *)ip;
	if (ip->protocol != IPPROTO_UDP || (void *)(shell + 1) > end || shell->udp.dest != port)
		return TCX_NEXT;
	return unwrap(skb, shell, end);
}

// bpf_fib_lookup is for programs of this licence only.
char _license[] SEC("license") = "Dual BSD/GPL";

package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// survey finds out what the program must know of a NIC and of the tunnel.
func (f *FastPath) survey(nic string) (at place, err error) {
	if at.nic, err = f.index(nic); err != nil {
		return at, err
	}
	if at.tunnel, err = f.index(f.config.Device.Name); err != nil {
		return at, err
	}
	if at.unwrapLarge, err = f.mayUnwrapLarge(nic); err != nil {
		return at, err
	}
	err = f.inNamespace(func() (err error) {
		at.outerTTL, at.ports, err = settings()
		return err
	})
	return at, err
}

func (f *FastPath) index(name string) (uint32, error) {
	request, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(f.socket, unix.SIOCGIFINDEX, request)
	}
	if err != nil {
		return 0, fmt.Errorf("find interface %s: %w", name, err)
	}
	return request.Uint32(), nil
}

// settings reads what the kernel puts into outer headers, in the namespace of the calling thread: their TTL, and the range of source
// ports.
func settings() (ttl uint8, ports portRange, err error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_default_ttl")
	if err != nil {
		return 0, ports, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 8)
	if err != nil {
		return 0, ports, fmt.Errorf("read ip_default_ttl: %w", err)
	}
	if text, err = os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err != nil {
		return 0, ports, err
	}
	if _, err := fmt.Sscan(string(text), &ports.from, &ports.to); err != nil {
		return 0, ports, fmt.Errorf("read ip_local_port_range: %w", err)
	}
	return uint8(n), ports, nil
}

// tunnelFeature is the NIC's ability to cut up packets inside of a UDP tunnel.
const tunnelFeature = "tx-udp_tnl-segmentation"

// mayUnwrapLarge tells whether packets that are yet to be cut up into many may be unwrapped on their way to this NIC. Linux leaves a mark
// that they are inside of a tunnel on them (bpf_skb_net_shrink in net/core/filter.c). Where the kernel cuts them up that makes no
// difference; a NIC that does so itself, for tunnels, would look for headers that are no longer there. A veth hands packets on whole.
func (f *FastPath) mayUnwrapLarge(nic string) (bool, error) {
	info, err := unix.IoctlGetEthtoolDrvinfo(f.socket, nic)
	if err == nil && unix.ByteSliceToString(info.Driver[:]) == "veth" {
		return true, nil
	}
	cuts := false
	if err == nil {
		cuts, err = f.hasFeature(nic, tunnelFeature)
	}
	if errors.Is(err, unix.EOPNOTSUPP) { // unknown: they are the kernel's
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask what interface %s can do: %w", nic, err)
	}
	return !cuts, nil
}

// hasFeature asks whether an interface has a feature, by its name in ethtool -k, that is switched on. The layouts are those of
// include/uapi/linux/ethtool.h.
func (f *FastPath) hasFeature(nic, feature string) (bool, error) {
	const nameLength, setFeatures, perBlock, blockSize, most = 32, 4, 32, 16, 1024
	// struct ethtool_sset_info, with room for one count.
	count := make([]byte, 20)
	binary.NativeEndian.PutUint32(count, unix.ETHTOOL_GSSET_INFO)
	binary.NativeEndian.PutUint64(count[8:], 1<<setFeatures)
	if err := f.ethtool(nic, count); err != nil {
		return false, err
	}
	n := int(binary.NativeEndian.Uint32(count[16:]))
	if n == 0 || n > most {
		return false, fmt.Errorf("interface %s has %d features", nic, n)
	}
	// struct ethtool_gstrings
	names := make([]byte, 12+n*nameLength)
	binary.NativeEndian.PutUint32(names, unix.ETHTOOL_GSTRINGS)
	binary.NativeEndian.PutUint32(names[4:], setFeatures)
	binary.NativeEndian.PutUint32(names[8:], uint32(n))
	if err := f.ethtool(nic, names); err != nil {
		return false, err
	}
	// struct ethtool_gfeatures
	blocks := (n + perBlock - 1) / perBlock
	features := make([]byte, 8+blocks*blockSize)
	binary.NativeEndian.PutUint32(features, unix.ETHTOOL_GFEATURES)
	binary.NativeEndian.PutUint32(features[4:], uint32(blocks))
	if err := f.ethtool(nic, features); err != nil {
		return false, err
	}
	for i := range n {
		name, _, _ := bytes.Cut(names[12+i*nameLength:12+(i+1)*nameLength], []byte{0})
		if string(name) == feature {
			const active = 8 // within struct ethtool_get_features_block
			return binary.NativeEndian.Uint32(features[8+i/perBlock*blockSize+active:])>>(i%perBlock)&1 == 1, nil
		}
	}
	return false, nil
}

func (f *FastPath) ethtool(nic string, data []byte) error {
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}{data: unsafe.Pointer(&data[0])}
	copy(request.name[:unix.IFNAMSIZ-1], nic)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(f.socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

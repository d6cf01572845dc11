package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// batchBytes bounds what goes into one system call; the acknowledgements of so many small messages fit into receiveBuffer.
	batchBytes    = 32 << 10
	receiveBuffer = 4 << 20
	// replyTimeout ends a wait for an answer that does not come. The kernel answers in the same system call, so it only
	// ever passes when something is badly wrong.
	replyTimeout = 10 * time.Second
	dumpAttempts = 5
)

// errInterrupted says that what a dump read changed meanwhile.
var errInterrupted = errors.New("the dump was interrupted by changes")

// conn is one rtnetlink socket for requests. It is not safe for concurrent use.
type conn struct {
	fd   int
	port uint32 // our address; notifications that our own requests cause carry it
	seq  uint32
	buf  []byte
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", os.NewSyscallError("socket", err))
	}
	c := &conn{fd: fd, buf: make([]byte, 64<<10)}
	if err := c.setUp(); err != nil {
		c.close()
		return nil, fmt.Errorf("set up a netlink socket: %w", err)
	}
	return c, nil
}

func (c *conn) setUp() error {
	if err := unix.Bind(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	c.port = name.(*unix.SockaddrNetlink).Pid
	timeout := unix.NsecToTimeval(replyTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
	}
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK, unix.NETLINK_GET_STRICT_CHK} {
		// A kernel that knows no such option is too old, which package plan says in better words.
		if err := unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, option, 1); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			return os.NewSyscallError("setsockopt netlink option", err)
		}
	}
	return growReceiveBuffer(c.fd)
}

// growReceiveBuffer goes over the system's limit where the capabilities allow it.
func growReceiveBuffer(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err == nil {
		return nil
	}
	return os.NewSyscallError("setsockopt SO_RCVBUF", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer))
}

func (c *conn) close() { unix.Close(c.fd) }

// do carries out requests in their order, as many as fit into each system call. errs has one entry per request, nil for
// those that succeeded; a failed one does not keep the following from being carried out. err says that the socket itself failed.
func (c *conn) do(requests []*message) (errs []error, err error) {
	errs = make([]error, len(requests))
	for from := 0; from < len(requests); {
		to, batch := from, c.buf[:0]
		first := c.seq + 1
		for to < len(requests) && (to == from || len(batch)+len(requests[to].b) <= batchBytes) {
			c.seq++
			m := requests[to]
			flags := binary.NativeEndian.Uint16(m.b[6:])
			binary.NativeEndian.PutUint16(m.b[6:], flags|unix.NLM_F_ACK)
			batch = append(batch, m.finish(c.seq)...)
			to++
		}
		if err := c.send(batch); err != nil {
			return errs, err
		}
		if err := c.acknowledgements(first, errs[from:to]); err != nil {
			return errs, err
		}
		from = to
	}
	return errs, nil
}

// doOne carries out one request.
func (c *conn) doOne(request *message) error {
	errs, err := c.do([]*message{request})
	if err != nil {
		return err
	}
	return errs[0]
}

func (c *conn) send(b []byte) error {
	if err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to the kernel: %w", os.NewSyscallError("sendto", err))
	}
	return nil
}

func (c *conn) acknowledgements(first uint32, errs []error) error {
	for left := len(errs); left > 0; {
		err := c.receive(func(typ, _ uint16, seq uint32, body []byte) (bool, error) {
			if i := seq - first; typ == unix.NLMSG_ERROR && i < uint32(len(errs)) {
				errs[i] = ackError(body)
				left--
			}
			return false, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// get sends a request and hands the answers to each. Dumps that were interrupted are repeated from the start; begin is called
// before each attempt.
func (c *conn) get(build func() *message, begin func(), each func(typ uint16, body []byte) error) error {
	var err error
	for range dumpAttempts {
		begin()
		if err = c.getOnce(build(), each); !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return err
}

func (c *conn) getOnce(request *message, each func(typ uint16, body []byte) error) error {
	c.seq++
	want := c.seq
	if err := c.send(request.finish(want)); err != nil {
		return err
	}
	interrupted, done := false, false
	isDump := binary.NativeEndian.Uint16(request.b[6:])&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	for !done {
		err := c.receive(func(typ, flags uint16, seq uint32, body []byte) (bool, error) {
			if seq != want {
				return false, nil
			}
			interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			switch typ {
			case unix.NLMSG_DONE:
				done = true
				return true, doneError(body)
			case unix.NLMSG_ERROR:
				done = true
				return true, ackError(body)
			}
			done = !isDump
			return done, each(typ, body)
		})
		if err != nil {
			return err
		}
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}

// receive reads one datagram and hands its messages to each until that says stop.
func (c *conn) receive(each func(typ, flags uint16, seq uint32, body []byte) (stop bool, err error)) error {
	n, _, err := unix.Recvfrom(c.fd, c.buf[:cap(c.buf)], 0)
	for errors.Is(err, unix.EINTR) {
		n, _, err = unix.Recvfrom(c.fd, c.buf[:cap(c.buf)], 0)
	}
	if err != nil {
		return fmt.Errorf("receive from the kernel: %w", os.NewSyscallError("recvfrom", err))
	}
	return messages(c.buf[:n], each)
}

// messages splits a datagram.
func messages(b []byte, each func(typ, flags uint16, seq uint32, body []byte) (stop bool, err error)) error {
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return errTruncated
		}
		stop, err := each(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]),
			binary.NativeEndian.Uint32(b[8:]), b[unix.SizeofNlMsghdr:n])
		if stop || err != nil {
			return err
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// ackError reads an NLMSG_ERROR: an error number, 0 for success, and with luck the kernel's own words.
func ackError(body []byte) error {
	if len(body) < 4 {
		return errTruncated
	}
	code := int32(binary.NativeEndian.Uint32(body))
	if code == 0 {
		return nil
	}
	errno := unix.Errno(-code)
	words := ""
	if len(body) > 4+unix.SizeofNlMsghdr {
		_ = attrs(body[4+unix.SizeofNlMsghdr:], func(typ uint16, v []byte) {
			if typ == unix.NLMSGERR_ATTR_MSG {
				words = text(v)
			}
		})
	}
	if words != "" {
		return fmt.Errorf("%w (%s)", errno, words)
	}
	return errno
}

func doneError(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

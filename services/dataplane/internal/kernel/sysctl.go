package kernel

import (
	"fmt"
	"os"
)

// sysctl is a setting below /proc/sys with the value 0 or 1. Its file stays with the network namespace of the thread that opened it, as a
// socket does.
type sysctl struct {
	file  *os.File // nil when it cannot even be read
	fixed error    // why it cannot be written; nil when it can
}

func openSysctl(name string) (s sysctl) {
	path := "/proc/sys/" + name
	if s.file, s.fixed = os.OpenFile(path, os.O_RDWR, 0); s.fixed != nil {
		s.file, _ = os.Open(path)
	}
	return s
}

func (s sysctl) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// on tells whether it is other than 0. What cannot be read is not.
func (s sysctl) on() bool {
	if s.file == nil {
		return false
	}
	var value [1]byte
	_, err := s.file.ReadAt(value[:], 0)
	return err == nil && value[0] != '0'
}

// switchOn sets it to 1. The error says how name is to be set otherwise.
func (s sysctl) switchOn(name, why string) error {
	err := s.fixed
	if err == nil {
		_, err = s.file.WriteAt([]byte("1\n"), 0)
	}
	if err != nil {
		return fmt.Errorf("%s and this process may not switch it on: set %s=1 on the node: %w", why, name, err)
	}
	return nil
}

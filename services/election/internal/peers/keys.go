package peers

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

const (
	maxKeys     = 2
	minKeyBytes = 32
	maxKeyFile  = 4096
)

// ParseKeys reads the content of a key file: one or two lines, each 32 bytes or more in standard base64 (openssl rand
// -base64 32 makes one). The first key signs, both are accepted. A key is changed in three steps, each
// once the one before has reached every gateway: add the new one as the second line, swap the lines, remove the old one.
func ParseKeys(content []byte) ([]wire.Key, error) {
	var keys []wire.Key
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		// The line itself must not get into an error: it is a secret.
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64", len(keys)+1)
		}
		if len(key) < minKeyBytes {
			return nil, fmt.Errorf("key %d has %d bytes: must have at least %d", len(keys)+1, len(key), minKeyBytes)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in it")
	}
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("%d keys: must be at most %d", len(keys), maxKeys)
	}
	return keys, nil
}

func readKeys(path string) ([]wire.Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read heartbeat keys: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(content) > maxKeyFile {
		err = fmt.Errorf("larger than %d bytes", maxKeyFile)
	}
	var keys []wire.Key
	if err == nil {
		keys, err = ParseKeys(content)
	}
	if err != nil {
		return nil, fmt.Errorf("read heartbeat keys of %s: %w", path, err)
	}
	return keys, nil
}

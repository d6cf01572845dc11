package peers

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// Whatever a key file holds: keys that are long enough, or an error that does not show any of
// it.
func FuzzParseKeys(f *testing.F) {
	key := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, minKeyBytes))
	f.Add([]byte(key + "\n"))
	f.Add([]byte(key + "\r\n\n " + key))
	f.Add([]byte("not base64, and a secret"))
	f.Fuzz(func(t *testing.T, content []byte) {
		keys, err := ParseKeys(content)
		if err == nil && (len(keys) == 0 || len(keys) > maxKeys) {
			t.Errorf("%d keys", len(keys))
		}
		for _, k := range keys {
			if len(k) < minKeyBytes {
				t.Errorf("a key of %d bytes", len(k))
			}
		}
		if err == nil {
			return
		}
		for _, line := range strings.Fields(string(content)) {
			if len(line) >= 16 && strings.Contains(err.Error(), line) {
				t.Errorf("the error shows the secret: %v", err)
			}
		}
	})
}

package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// hash is the SHA-256 of a token, a ticket or a login: what is kept and compared.
type hash [sha256.Size]byte

func hashOf(secret string) hash { return sha256.Sum256([]byte(secret)) }

// token is one line of the token file.
type token struct {
	name   string
	grants Grants
	hash   hash
}

// Bounds of the token file.
const (
	maxTokenFile = 64 << 10 // bytes
	maxTokens    = 256
	minToken     = 43 // characters: 32 random bytes
	maxToken     = 512
)

// hashPrefix begins the hash of a token in the token file.
const hashPrefix = "sha256:"

// wantLine is the form of a line of the token file.
const wantLine = "want NAME GRANT[,GRANT...] TOKEN, where TOKEN is what stoker console token prints"

// maxName bounds the name of a token; it is shorter than a token, so that one in its place is noticed.
const maxName = 32

// validName reports whether a text can be the name of a token.
func validName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, base64URL+".@") == ""
}

// NewSecret returns 32 random bytes as 43 characters of base64url.
func NewSecret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// TokenLine returns a new token, and its line for the token file, which has its hash only.
func TokenLine(name string, grants []string) (token, line string, err error) {
	if !validName(name) {
		return "", "", fmt.Errorf("%q cannot be the name of a token: use up to 32 letters, digits and . _ @ -", name)
	}
	g, err := ParseGrants(grants)
	if err == nil && g == 0 {
		err = errors.New("the token needs a grant: view, job, exec or admin")
	}
	if err != nil {
		return "", "", err
	}
	token = NewSecret()
	sum := hashOf(token)
	return token, fmt.Sprintf("%s %s %s%s", name, strings.Join(g.Names(), ","), hashPrefix, hex.EncodeToString(sum[:])), nil
}

// AppendLine adds a line to a token file, which is created with mode 0600 if it is not there. One that the server would refuse is left as
// it is.
func AppendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("cannot add the token: %w", err)
	}
	defer f.Close()
	before, err := readSecret(f, 0o077)
	if err == nil {
		_, err = parseTokens(before + "\n" + line)
	}
	if err != nil {
		return fmt.Errorf("cannot add the token to %s: %w", path, err)
	}
	if before != "" && !strings.HasSuffix(before, "\n") {
		line = "\n" + line
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("cannot add the token: %w", err)
	}
	return f.Close()
}

// readTokens reads a token file. No error contains a token.
func readTokens(path string) ([]token, error) {
	text, err := readSecretFile(path, 0o077)
	if err != nil {
		return nil, fmt.Errorf("cannot read the tokens in %s: %w", path, err)
	}
	tokens, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("cannot accept the tokens in %s: %w", path, err)
	}
	return tokens, nil
}

// readSecretFile reads a file that none of the modes lets others read.
func readSecretFile(path string, modes uint32) (string, error) {
	f, err := untrusted.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readSecret(f, modes)
}

// readSecret reads an open file after a check of its type, owner and mode.
func readSecret(f *os.File, modes uint32) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", untrusted.Cause(err)
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular():
		return "", untrusted.ErrNotRegular
	case is.Uid != 0 && int(is.Uid) != os.Geteuid():
		return "", fmt.Errorf("it belongs to uid %d, who can change it: chown %d %s", is.Uid, os.Geteuid(), f.Name())
	case is.Mode&modes != 0:
		return "", fmt.Errorf("others can read or change it (mode %04o): chmod %04o %s", is.Mode&0o7777, is.Mode&0o700&^modes, f.Name())
	}
	data, err := untrusted.ReadAll(f, maxTokenFile)
	return string(data), err
}

// parseTokens reads the text of a token file. Its errors name lines, and repeat nothing that could be a token.
func parseTokens(text string) (out []token, err error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		t, err := parseToken(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		for _, other := range out {
			if other.hash == t.hash {
				return nil, fmt.Errorf("line %d: another line has the same token", number)
			}
		}
		if out = append(out, t); len(out) > maxTokens {
			return nil, fmt.Errorf("line %d: there are more than %d tokens", number, maxTokens)
		}
	}
	return out, nil
}

func parseToken(fields []string) (t token, err error) {
	if len(fields) != 3 || !validName(fields[0]) {
		return t, errors.New(wantLine)
	}
	if len(fields[1]) > maxName { // it may be a token
		return t, errors.New(wantLine)
	}
	t.name = fields[0]
	if t.grants, err = ParseGrants(strings.Split(fields[1], ",")); err != nil {
		return t, err
	}
	secret, hashed := strings.CutPrefix(fields[2], hashPrefix)
	switch {
	case hashed:
		sum, err := hex.DecodeString(secret)
		if err != nil || len(sum) != len(t.hash) {
			return t, fmt.Errorf("after %s come 64 hexadecimal digits", hashPrefix)
		}
		t.hash = hash(sum)
	case len(secret) < minToken || len(secret) > maxToken || strings.Trim(secret, base64URL) != "":
		return t, fmt.Errorf("a token has at least %d characters of base64url (stoker console token NAME makes one)", minToken)
	default:
		t.hash = hashOf(secret)
	}
	return t, nil
}

// base64URL are the characters of base64url.
const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// findToken compares a hash with those of all tokens, in the same time wherever it is.
func findToken(tokens []token, h hash) (found token, ok bool) {
	for _, t := range tokens {
		if subtle.ConstantTimeCompare(t.hash[:], h[:]) == 1 {
			found, ok = t, true
		}
	}
	return found, ok
}

// Package statefile keeps stoker's own state in files that outlive the container. A
// file is there as a whole or not at all, every byte of it is checked when it is read,
// and a damaged one is kept beside the next. What the state says is the caller's.
package statefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// File is a state file.
type File struct {
	Path string
	Kind string // tells one purpose from another
	Max  int64  // bytes
}

// DamagedError says that a state file is there and cannot be relied on: nothing is
// known of what it said.
type DamagedError struct {
	Path string
	Why  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the state file %s is damaged: %v", e.Path, e.Why)
}

func (e *DamagedError) Unwrap() error { return e.Why }

// Encode makes the content of a state file:
//
//	{"stoker":"KIND","sha256":"CHECKSUM","data":DATA}
//
// It is JSON for people and their tools, and it is the only text with that content.
func Encode(kind string, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return assemble(kind, data), nil
}

// assemble puts the content together.
func assemble(kind string, data []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", kind, data))
	return fmt.Appendf(nil, `{"stoker":%q,"sha256":"%s","data":%s}`+"\n", kind, hex.EncodeToString(sum[:]), data)
}

// Decode is the way back. What differs in a single bit is an error.
func Decode(kind string, content []byte, to any) error {
	const tail = "}\n"
	head := len(assemble(kind, nil)) - len(tail)
	if len(content) < head+len(tail) {
		return errors.New("it is too short")
	}
	data := content[head : len(content)-len(tail)]
	if !bytes.Equal(content, assemble(kind, data)) {
		return errors.New("its checksum is wrong")
	}
	return json.Unmarshal(data, to)
}

// Read reads it. That there is none is fs.ErrNotExist.
func (f File) Read(to any) error {
	file, err := untrusted.Open(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fs.ErrNotExist
	case errors.Is(err, untrusted.ErrNotRegular), errors.Is(err, untrusted.ErrLink):
		return &DamagedError{f.Path, err}
	case err != nil:
		return fmt.Errorf("cannot read the state file %s: %w", f.Path, err)
	}
	defer file.Close()
	if err := ours(file); err != nil {
		return &DamagedError{f.Path, fmt.Errorf("others could have written it: %w", err)}
	}
	content, err := untrusted.ReadAll(file, f.Max)
	switch {
	case errors.Is(err, untrusted.ErrTooLarge):
		return &DamagedError{f.Path, err}
	case err != nil:
		return fmt.Errorf("cannot read the state file %s: %w", f.Path, err)
	}
	if err := Decode(f.Kind, content, to); err != nil {
		return &DamagedError{f.Path, err}
	}
	return nil
}

// ours refuses a file that others could have written. A group may write where stoker is
// not root: Kubernetes' fsGroup makes every file of a volume so, and those in the group
// are of the same pod and, as a rule, the same user.
func ours(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if us := os.Geteuid(); us != 0 && ok && int(st.Uid) == us && info.Mode().Perm()&0o002 == 0 {
		return nil
	}
	return trust.File(file, os.Geteuid())
}

// Write puts another in the place of the one before, and has it on the disk when it
// returns. One before that is not valid is kept as PATH.bad, and the latest such one of
// earlier as PATH.bad.1. The folder must be there.
func (f File) Write(v any) (err error) {
	content, err := Encode(f.Kind, v)
	switch {
	case err != nil:
		return err
	case int64(len(content)) > f.Max:
		return fmt.Errorf("cannot write the state file %s: %w: more than %d bytes", f.Path, untrusted.ErrTooLarge, f.Max)
	}
	dir := filepath.Dir(f.Path)
	file, err := os.CreateTemp(dir, ".new-*") // 0600: it may hold secrets
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // what is left of it does no harm
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", file.Name(), untrusted.Cause(err))
	}
	if before := f.Read(new(json.RawMessage)); before == nil || errors.Is(before, fs.ErrNotExist) {
		err = os.Rename(file.Name(), f.Path)
	} else {
		err = replaceDamaged(file.Name(), f.Path)
	}
	if err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// replaceDamaged puts a file in the place of a damaged one, without a moment at which
// none is there: that would mean that nothing was ever said.
func replaceDamaged(from, path string) error {
	bad := path + ".bad"
	if err := os.Rename(bad, bad+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	if err == nil {
		return os.Rename(from, bad)
	}
	if err := os.Rename(path, bad); err != nil { // a file system that cannot exchange two
		return err
	}
	return os.Rename(from, path)
}

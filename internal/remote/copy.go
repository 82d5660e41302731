package remote

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// maxCopy bounds a kept copy: an answer of which every byte is escaped, and a bit.
const maxCopy = 6*maxAnswer + 64<<10

// kept is the last good answer to one URL, as it is on the disk.
type kept struct {
	URL string `json:"url"` // masked: for people
	// Key is a hash of the URL with its secrets: whose answer it is.
	Key          string    `json:"key"`
	Time         time.Time `json:"time"` // when the service last gave or confirmed it
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	ContentType  string    `json:"content_type,omitempty"`
	Body         string    `json:"body"`
	// Sum is a checksum over all of the above: a torn or edited file is none.
	Sum string `json:"sum"`
}

func keyOf(t target) string {
	sum := sha256.Sum256([]byte(t.full))
	return hex.EncodeToString(sum[:])
}

// sum is the checksum of everything else.
func (k kept) sum() string {
	k.Sum, k.Time = "", k.Time.UTC().Round(0)
	data, err := json.Marshal(k)
	if err != nil {
		return "" // a year past 9999; no checksum is empty
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// parseKept reads a copy and its answer. now bounds its time.
func parseKept(data []byte, key string, now time.Time) (kept, Answer, error) {
	var k kept
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&k); err != nil {
		return kept{}, Answer{}, errors.New("it is damaged")
	}
	switch {
	case k.Key != key:
		return kept{}, Answer{}, errors.New("it is that of another URL")
	case k.Sum == "" || k.Sum != k.sum():
		return kept{}, Answer{}, errors.New("its checksum is wrong")
	}
	if k.Time.After(now) { // the clock was set back
		k.Time = now
	}
	a, err := ParseAnswer(k.ContentType, []byte(k.Body))
	if err != nil {
		return kept{}, Answer{}, err
	}
	return k, a, nil
}

// path is the file of a URL's copy.
func (f *Fetcher) path(key string) string { return filepath.Join(f.Dir, key[:32]+".json") }

// load gives the copy of a key. ok is false, without an error, where there is none.
func (f *Fetcher) load(key string) (k kept, a Answer, ok bool, err error) {
	if f.Dir == "" {
		return k, a, false, nil
	}
	file, err := untrusted.Open(f.path(key))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return k, a, false, nil
	}
	if err != nil {
		return k, a, false, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return k, a, false, err
	}
	if !info.Mode().IsRegular() || trust.File(file, os.Geteuid()) != nil {
		return k, a, false, errors.New("others could have written it")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxCopy+1))
	if err != nil {
		return k, a, false, err
	}
	if len(data) > maxCopy {
		return k, a, false, errors.New("it is too large")
	}
	k, a, err = parseKept(data, key, time.Now())
	return k, a, err == nil, err
}

// save puts a copy in the place of the one before: whole, or not at all.
func (f *Fetcher) save(k kept) (err error) {
	if f.Dir == "" {
		return errors.New("there is no folder for it")
	}
	k.Time = k.Time.UTC().Round(0)
	k.Sum = k.sum()
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(f.Dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // what is left of it does no harm
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", file.Name(), cmp.Or(errors.Unwrap(err), err))
	}
	return os.Rename(file.Name(), f.path(k.Key))
}

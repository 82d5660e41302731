package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// keepConfig puts the configuration into the bag: a file that was broken in the
// meantime must not keep a new supervisor from looking after what runs. It is a
// memfd because it may be larger than a blob.
func keepConfig(m *proc.Manager, loaded *config.Loaded) error {
	data, err := json.Marshal(loaded)
	if err != nil {
		return fmt.Errorf("cannot keep the configuration: %w", err)
	}
	fd, err := unix.MemfdCreate("config", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot keep the configuration: %w", err)
	}
	f := os.NewFile(uintptr(fd), "config")
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("cannot keep the configuration: %w", err)
	}
	return m.Put(configItem, nil, fd)
}

// readConfig is the way back.
func readConfig(fd int) (*config.Loaded, error) {
	f := os.NewFile(uintptr(fd), "config")
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 64<<20))
	if err != nil {
		return nil, err
	}
	loaded := new(config.Loaded)
	if err := json.Unmarshal(data, loaded); err != nil {
		return nil, err
	}
	loaded.Config = config.WithDefaults(loaded.Config) // a supervisor of another version may have kept it
	return loaded, nil
}

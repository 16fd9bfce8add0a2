// Package tpm keeps the site key with a TPM 2.0 and counts with it.
//
// A sealed key works with the TPM that sealed it and with no other, so a copy of
// the data directory cannot sign. The counter only grows, whatever happens to
// the disk, so a ledger that was put back shows a jump in its boot and close
// records.
//
// Its limits: whoever is root on this machine may use the TPM as the daemon
// does. A virtual TPM is a file of the hypervisor and goes back with its virtual
// machine. A TPM that is cleared or broken takes the key with it; then a new
// ledger supersedes this one. See docs/decisions/tpm.md.
package tpm

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// ErrUnavailable is returned when there is no TPM at the path, it may not be
// used, or it does not answer: give the daemon's user the device (group tss), and
// let its service see it.
var ErrUnavailable = errors.New("TPM is not available")

// CounterIndex is the NV index of the counter: in the range of the owner, "MS" in
// its last two bytes.
const CounterIndex tpm2.TPMHandle = 0x01804d53

// A TPM is an open one. Its methods may be called by several goroutines; each
// leaves no object behind in the TPM.
type TPM struct {
	path string
	mu   sync.Mutex // one command at a time, and one set of loaded objects
	t    transport.TPMCloser
}

// Open opens the TPM at path: a device, /dev/tpmrm0 as a rule (not /dev/tpm0,
// which takes one user at a time), or the unix socket of a software TPM. Errors:
// ErrUnavailable.
func Open(path string) (*TPM, error) {
	t, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: open %s: %w", ErrUnavailable, path, err)
	}
	return &TPM{path: path, t: t}, nil
}

// Close closes it.
func (t *TPM) Close() error { return t.t.Close() }

// failed says what could not be done with which TPM. A TPM that answers with a
// code is there; anything else is no answer.
func (t *TPM) failed(what string, err error) error {
	var code tpm2.TPMRC
	switch {
	case errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCAuthFail):
		return fmt.Errorf("%s with TPM %s: its owner hierarchy has a password, which is not supported: %w", what, t.path, err)
	case errors.As(err, &code):
		return fmt.Errorf("%s with TPM %s: %w", what, t.path, err)
	}
	return fmt.Errorf("%w: %s with %s: %w", ErrUnavailable, what, t.path, err)
}

// primary makes the primary key of a template, which is the same one each time
// until the TPM is cleared. The caller flushes it.
func (t *TPM) primary(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) (*tpm2.CreatePrimaryResponse, error) {
	return tpm2.CreatePrimary{PrimaryHandle: hierarchy, InPublic: tpm2.New2B(template)}.Execute(t.t)
}

// flush frees the memory of an object. A TPM behind a resource manager does so
// by itself at the latest when the device is closed.
func (t *TPM) flush(h tpm2.TPMHandle) { _, _ = tpm2.FlushContext{FlushHandle: h}.Execute(t.t) }

// EndorsementName returns the name of the TPM's endorsement key (P-256), in hex:
// what tells one TPM from another. It outlives clearing the TPM.
func (t *TPM) EndorsementName() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ek, err := t.primary(tpm2.TPMRHEndorsement, tpm2.ECCEKTemplate)
	if err != nil {
		return "", t.failed("read endorsement key", err)
	}
	t.flush(ek.ObjectHandle)
	return hex.EncodeToString(ek.Name.Buffer), nil
}

// counterAttributes let everybody who may use the TPM read the counter and count
// it up, and nobody put it back: a counter that is removed and made anew starts
// above every value that the TPM has ever counted.
var counterAttributes = tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthWrite: true, AuthRead: true, NT: tpm2.TPMNTCounter, NoDA: true}

// Increment adds one to the counter and returns it, after making it if this TPM
// does not have it yet. All ledgers of a machine share it.
func (t *TPM) Increment() (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name, err := t.counterName()
	if errors.Is(err, tpm2.TPMRCHandle) {
		name, err = t.defineCounter()
	}
	if err != nil {
		return 0, t.failed("find counter", err)
	}
	at := tpm2.NamedHandle{Handle: CounterIndex, Name: name}
	if _, err := (tpm2.NVIncrement{AuthHandle: counterAuth(name), NVIndex: at}).Execute(t.t); err != nil {
		return 0, t.failed("count", err)
	}
	v, err := t.readCounter() // the first increment has changed its name
	if err != nil {
		return 0, t.failed("read counter", err)
	}
	return v, nil
}

// Counter returns the counter, 0 if it was never incremented.
func (t *TPM) Counter() (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, err := t.readCounter()
	if errors.Is(err, tpm2.TPMRCHandle) || errors.Is(err, tpm2.TPMRCNVUninitialized) {
		return 0, nil
	}
	if err != nil {
		return 0, t.failed("read counter", err)
	}
	return v, nil
}

func counterAuth(name tpm2.TPM2BName) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: CounterIndex, Name: name, Auth: tpm2.PasswordAuth(nil)}
}

// counterName returns the name of the counter, after a look at what it is:
// another program may have taken the index.
func (t *TPM) counterName() (tpm2.TPM2BName, error) {
	r, err := tpm2.NVReadPublic{NVIndex: CounterIndex}.Execute(t.t)
	if err != nil {
		return tpm2.TPM2BName{}, err
	}
	p, err := r.NVPublic.Contents()
	if err != nil {
		return tpm2.TPM2BName{}, err
	}
	if p.Attributes.NT != tpm2.TPMNTCounter || p.DataSize != 8 {
		return tpm2.TPM2BName{}, fmt.Errorf("NV index %#x is in use and no counter: %w", CounterIndex, tpm2.TPMRCNVDefined)
	}
	return r.NVName, nil
}

func (t *TPM) defineCounter() (tpm2.TPM2BName, error) {
	public := tpm2.New2B(tpm2.TPMSNVPublic{NVIndex: CounterIndex, NameAlg: tpm2.TPMAlgSHA256, Attributes: counterAttributes, DataSize: 8})
	if _, err := (tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner, PublicInfo: public}).Execute(t.t); err != nil {
		return tpm2.TPM2BName{}, err
	}
	return t.counterName()
}

func (t *TPM) readCounter() (uint64, error) {
	name, err := t.counterName()
	if err != nil {
		return 0, err
	}
	r, err := tpm2.NVRead{AuthHandle: counterAuth(name), NVIndex: tpm2.NamedHandle{Handle: CounterIndex, Name: name}, Size: 8}.Execute(t.t)
	if err != nil {
		return 0, err
	}
	if len(r.Data.Buffer) != 8 {
		return 0, fmt.Errorf("counter of %d bytes", len(r.Data.Buffer))
	}
	return binary.BigEndian.Uint64(r.Data.Buffer), nil
}

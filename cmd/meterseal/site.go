package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/meterseal/meterseal/console"
	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/internal/exporter"
	"github.com/meterseal/meterseal/internal/machine"
	"github.com/meterseal/meterseal/internal/tpm"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// Folders and files of a data directory.
const (
	keysDir        = "keys"
	streamDir      = "stream"
	projectionsDir = "projections"
	saltKeyFile    = "salt.key"
	openingFile    = "opening" // nonce of a ledger that is not open yet
)

// syncEvery is how often the projections are synced and the checkpoint signed.
const syncEvery = 200 * time.Millisecond

// site is a running daemon without its HTTP server: stream, gateway,
// projections, in the order of an event's path.
type site struct {
	cfg     *Config
	log     *slog.Logger
	keys    *siteKeys
	stream  *stream.Stream
	gateway *stream.Gateway
	store   *projections.Store
	service *stream.Service
	asked   *askMetrics
	tail    console.Tail // what came last
	alerts  alerts
	history licenseHistory
	watched watched
	meters  atomic.Pointer[events.Meters]
	terms   atomic.Pointer[terms]
	clock   *siteClock

	keeping events.Keeping

	book         *access.Book // who may do what
	refusals     *access.Refusals
	strays       chan stream.Refusal // events in the name of other nodes
	certificates *certificates       // of the NATS server; nil: it is plain

	usageDB  *usageDB // nil: no usage.database
	exporter *exporter.Exporter
	exported sync.Mutex // one report is noted at a time
	rate     rate       // of events

	importing   sync.Mutex   // one import or deactivation at a time
	variablesMu sync.Mutex   // one change of a device variable at a time
	reading     sync.RWMutex // the stream is read as a whole, or groups leave it: never both
	checks      ledgerChecks

	tpm      *tpm.TPM          // nil: none is used
	bindings []machine.Binding // as read at the start, present ones only

	fatal chan error
	stop  chan struct{}
	done  chan struct{}

	clockStop, clockDone chan struct{}
	published            chan struct{} // closed when the allowances are not published any more

	witnesses    *witnesses
	witnessesRun chan struct{} // closed when no more statements are recorded
}

// siteKeys are the site's secrets. They are made at the first start and never
// leave the site.
type siteKeys struct {
	folder  string
	secrets ledger.Secrets
	opening []byte // nonce of open, until the ledger has it

	mu      sync.RWMutex      // guards what a rotation changes
	site    *ledger.SecretKey // the one that counts
	next    *ledger.SecretKey // will when a receipt covers its record; nil: none
	signers []note.Signer     // of both
}

// loadKeys reads the keys of dir, or makes them in a directory that has
// neither keys nor history. A crash between making them and opening the ledger
// leaves the nonce behind, and the next start goes on with it.
//
// The origin of a ledger that begins under a license has the vendor's domain and
// the id of the license; one that began without keeps its own.
func loadKeys(cfg *Config, lic *configured, t *tpm.TPM) (*siteKeys, error) {
	dir := cfg.DataDir
	folder := filepath.Join(dir, keysDir)
	if !hasSiteKey(folder) && !hasHistory(dir) {
		if lic.bound() { // it was in force here once (YD-5)
			return nil, fmt.Errorf("%w: license %s is for %s, and %s is empty", projections.ErrNoHistory, lic.id, lic.license.Site, dir)
		}
		domain, id := lic.origin(cfg)
		if err := makeKeys(folder, domain, id, t); err != nil {
			return nil, err
		}
	}
	return readKeysWith(dir, t)
}

// readKeysWith reads the keys of dir, a sealed one with t.
func readKeysWith(dir string, t *tpm.TPM) (*siteKeys, error) {
	folder := filepath.Join(dir, keysDir)
	k := &siteKeys{folder: folder}
	site, err := readKeyFile(folder, siteKeyFile, t)
	if err != nil {
		return nil, keyFailure(err)
	}
	next, err := readNext(folder, t, site)
	if err != nil {
		return nil, keyFailure(err)
	}
	nonceGiven := filepath.Join(folder, openingFile)
	nonce, err := os.ReadFile(nonceGiven)
	if err == nil {
		if k.opening, err = hex.DecodeString(strings.TrimSpace(string(nonce))); err != nil || len(k.opening) != 8 {
			return nil, keyFailure(fmt.Errorf("%w: %s is not a nonce", ledger.ErrMalformed, nonceGiven))
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, keyFailure(err)
	}
	salt, month, err := ledger.ReadSaltFile(filepath.Join(folder, saltKeyFile))
	if err != nil {
		return nil, keyFailure(err)
	}
	tag, err := ledger.ReadSecretFile(filepath.Join(folder, "tag.key"))
	if err != nil {
		return nil, keyFailure(err)
	}
	k.secrets = ledger.Secrets{Salt: salt, Tag: tag, Month: month, Moved: month != 0}
	return k, k.set(site, next)
}

// replaceSalt destroys the period keys of the months before m.
func (k *siteKeys) replaceSalt(salt [32]byte, m ledger.Month) error {
	return ledger.ReplaceSaltFile(filepath.Join(k.folder, saltKeyFile), salt, m)
}

// keyFailure says that a key beside a ledger is missing or was damaged: none is
// ever made anew in its place.
func keyFailure(err error) error {
	switch {
	case errors.Is(err, ledger.ErrKeyExposed):
		return err
	case errors.Is(err, tpm.ErrUnavailable):
		return tpmFailure(err)
	case errors.Is(err, errSealed):
		return cli.Fail(cli.ExitHistory, "site_key_missing", "set tpm.device to this machine's TPM, "+defaultDevice+" as a rule", "%v", err)
	case errors.Is(err, tpm.ErrOtherTPM):
		return cli.Fail(cli.ExitHistory, "site_key_missing", "start it on the machine that sealed the key, or put back a clear one that was kept", "%v", err)
	}
	return cli.Fail(cli.ExitHistory, "site_key_missing", `put keys/ back from where it is kept, or see "meterseal restore --help"`, "%v", err)
}

// ofThisSite refuses a ledger that was opened with another key.
func (k *siteKeys) ofThisSite(store *projections.Store) error {
	if origin, name := store.Origin(), k.origin(); origin != "" && origin != name {
		return cli.Fail(cli.ExitHistory, "site_key_missing", "put the keys/ of this ledger back", "the ledger is %s, the key is that of %s", origin, name)
	}
	return nil
}

// makeKeys writes the site key last: where it exists, all the others do.
func makeKeys(folder, domain, licenseID string, t *tpm.TPM) error {
	for _, name := range []string{saltKeyFile, "tag.key", openingFile} { // left by a crash
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	key, nonce, err := ledger.GenerateSiteKey(domain, licenseID, rand.Reader)
	if err != nil {
		return err
	}
	if _, err := ledger.WriteSecretFile(filepath.Join(folder, saltKeyFile)); err != nil {
		return err
	}
	if _, err := ledger.WriteSecretFile(filepath.Join(folder, "tag.key")); err != nil {
		return err
	}
	if err := cli.WriteSynced(filepath.Join(folder, openingFile), []byte(hex.EncodeToString(nonce[:])+"\n")); err != nil {
		return err
	}
	return writeKeyFile(folder, siteKeyFile, t, key)
}

// hasHistory tells whether dir holds a stream or projections.
func hasHistory(dir string) bool {
	for _, d := range []string{projectionsDir, streamDir} {
		if list, err := os.ReadDir(filepath.Join(dir, d)); err == nil && len(list) > 0 {
			return true
		}
	}
	return false
}

// openSite opens the parts along the path of an event and brings the
// projections up to the end of the stream. What is missing or does not fit
// stops it with a code of docs/reference/errors.md; it never starts afresh in silence.
func openSite(ctx context.Context, cfg *Config, clock machine.Clock, log *slog.Logger) (*site, error) {
	s := &site{cfg: cfg, log: log, clock: newSiteClock(clock), fatal: make(chan error, 1), stop: make(chan struct{}), done: make(chan struct{}),
		clockStop: make(chan struct{}), clockDone: make(chan struct{}), published: make(chan struct{}), witnessesRun: make(chan struct{}), asked: newAskMetrics(),
		refusals: access.NewRefusals(log, nil), strays: make(chan stream.Refusal, 64)}
	s.witnesses = newWitnesses(s)
	err := s.open(ctx)
	if err == nil {
		s.exporter, err = exporter.New(s.exporterOptions())
	}
	if err != nil {
		_ = s.closeParts(context.WithoutCancel(ctx)) // err says why; what follows from it would only hide that
		return nil, err
	}
	s.startUsageDB()
	go s.syncLoop()
	go s.watchClock()
	go s.publishAllowances()
	go s.witnesses.run(s.witnessesRun)
	s.exporter.Start()
	return s, nil
}

func (s *site) open(ctx context.Context) error {
	cfg := s.cfg
	lic, err := readLicense(cfg)
	if err != nil {
		return err
	}
	if err := prepareDir(cfg.DataDir, s.log); err != nil {
		return err
	}
	if s.tpm, err = openTPM(cfg.TPMDevice); err != nil {
		return err
	}
	if s.keys, err = loadKeys(cfg, lic, s.tpm); err != nil {
		return err
	}
	if s.tpm != nil && exists(filepath.Join(cfg.DataDir, keysDir, siteKeyFile)) {
		s.log.Warn("the site key is in the clear: seal it with meterseal keys seal", "path", cfg.DataDir)
	}
	if s.book, err = access.Open(cfg.DataDir, filepath.Join(cfg.DataDir, keysDir), nil); err != nil {
		return err
	}
	if s.certificates, err = readCertificates(&cfg.NATS); err != nil {
		return err
	}
	s.readBindings(ctx)
	opened := s.keys.opening == nil
	if s.store, err = s.openStore(opened); err != nil {
		return err
	}
	if err := s.keys.ofThisSite(s.store); err != nil {
		return err
	}
	if s.stream, err = stream.Open(ctx, s.streamOptions()); err != nil {
		return err
	}
	s.sweep() // the directory is ours alone now
	// What is acknowledged must be found again: the names on the way to it too.
	for _, dir := range []string{cfg.DataDir, filepath.Dir(cfg.DataDir)} {
		if err := cli.SyncFolder(dir); err != nil {
			return err
		}
	}
	if err := s.checkCursor(ctx, opened); err != nil {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	if err := s.settleKeys(); err != nil {
		return err
	}
	if err := s.clock.load(s.store); err != nil {
		return err
	}
	if err := s.watched.load(s.store); err != nil {
		return err
	}
	licensed, err := s.takeLicense(ctx, lic)
	if err != nil {
		return err
	}
	if err := s.declare(); err != nil {
		return err
	}
	if err := s.startGateway(ctx); err != nil {
		return err
	}
	if err := s.openLedger(ctx, lic, licensed); err != nil {
		return err
	}
	return s.startService(ctx)
}

// sweep removes what a backup or a restore left when it was killed.
func (s *site) sweep() {
	for _, pattern := range []string{backupPrefix + "*", ".restore-*"} {
		left, _ := filepath.Glob(filepath.Join(s.cfg.DataDir, pattern)) // the pattern is valid
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				s.log.Warn("remove what a backup left", "path", path, "err", err)
			}
		}
	}
}

func (s *site) openStore(mustExist bool) (*projections.Store, error) {
	return projections.Open(projections.Options{
		Dir: filepath.Join(s.cfg.DataDir, projectionsDir), MustExist: mustExist, Secrets: s.keys.secrets, Log: s.log,
		Sign: s.keys.sign,
	})
}

// declare takes the meters of configuration and license; one whose meaning the
// ledger knows otherwise is refused. A meter that only the ledger knows takes no
// more events (Y-04).
func (s *site) declare() error {
	meters := s.metersOf(s.terms.Load().license)
	if _, err := s.declareLines(meters); err != nil {
		return err
	}
	set, err := events.NewMeters(meters)
	if err != nil {
		return err
	}
	s.meters.Store(set)
	return nil
}

func (s *site) streamOptions() stream.Options {
	o := stream.Options{MaxBytes: s.cfg.MaxSizeBytes, StartWait: s.cfg.StartWait, Logger: s.log}
	if s.cfg.NATSURL != "" {
		o.URL, o.SyncAlways = s.cfg.NATSURL, s.cfg.SyncAlways
		return o
	}
	o.Dir, o.Listen = filepath.Join(s.cfg.DataDir, streamDir), s.cfg.NATS.Address
	o.Authorize, o.Refused, o.TLS, o.MaxConnections = s.authorize, s.noteClient, s.certificates.config(), s.cfg.MaxConnections
	if s.cfg.NATS.guarded() {
		o.Strangers = strangersPerAddress
	}
	return o
}

// checkCursor compares the end of the stream with what was folded.
func (s *site) checkCursor(ctx context.Context, opened bool) error {
	cur := s.store.Cursor()
	last, err := s.stream.Last(ctx)
	if err != nil {
		return err
	}
	if opened && cur.Seq == 0 && last.Seq == 0 {
		return fmt.Errorf("%w: keys are there, stream and projections are empty", projections.ErrNoHistory)
	}
	var sum ledger.Hash
	if last.Group != nil {
		sum = last.Group.Sum
	}
	return s.store.CheckEnd(last.Seq, sum)
}

func (s *site) startGateway(ctx context.Context) error {
	s.keeping = s.cfg.Keeping
	s.keeping.Hash = pseudonyms(s.keys.secrets)
	o := stream.GatewayOptions{
		Keeping: &s.keeping,
		Meters:  s.meters.Load, Fold: s.fold, Cursor: s.store.Cursor().Seq, Future: s.cfg.Future, NodeRate: s.cfg.NodeRate, Logger: s.log,
		Reject: s.keepRejected, Refuse: s.refuse, Now: s.now,
		Tick:  func(wallNS int64) bool { due := s.store.Due(); return due > 0 && wallNS >= due },
		Fatal: s.fail,
	}
	if s.cfg.Fold.Trace {
		o.Clock = stream.ClockTrace
	}
	var err error
	if s.gateway, err = stream.NewGateway(ctx, s.stream, o); err == nil {
		go s.keepStrays(s.gateway)
	}
	return err
}

// fold is stream.Fold: it counts a group, and shows it to who watches.
func (s *site) fold(seq uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
	before := len(dst)
	dst, err := s.store.Apply(seq, g, dst)
	if err == nil {
		s.tail.Folded(seq, g, dst[before:])
	}
	return dst, err
}

// refuse says why no event is taken: the ledger went back (O-28), or has ended
// (L-08).
func (s *site) refuse() *events.Error {
	if s.store.Behind() != nil {
		return stream.RefuseRolledBack
	}
	if !s.store.Retired() {
		return nil
	}
	return &events.Error{Code: events.CodeRetired, Message: "this site was deactivated: its ledger takes nothing more", Hint: "send to the site that has the license now"}
}

func (s *site) keepRejected(r stream.RejectedEvent) {
	s.log.Debug("event rejected", "code", r.Err.Code, "node", r.Node, "meter", r.Meter)
	s.tail.Refused(time.Unix(0, r.WallNS), r.Node, r.Meter, r.Err.Code, r.Seq)
	err := s.store.KeepRejected([]projections.Rejected{{Time: time.Unix(0, r.WallNS).UTC(), Node: r.Node, Meter: r.Meter,
		Code: r.Err.Code, Message: r.Err.Message, Data: string(r.Sample), Whole: r.Whole, ID: r.ID, ContentType: r.ContentType}})
	if err != nil {
		s.watched.failed(opReject)
		s.log.Error("keep rejected event", "err", err)
	}
}

// openLedger sends what the fold must know before the first event: the opening
// of a new ledger, the settings, the meters, and that a daemon started.
//
// A ledger that has ended takes no records, so nothing is sent to it.
func (s *site) openLedger(ctx context.Context, lic *configured, licensed []string) error {
	var lines []string
	st := s.store.Status()
	if st.Retired {
		return nil
	}
	if st.Origin == "" || st.Settings != s.cfg.Fold {
		lines = append(lines, s.cfg.Fold.Line())
	}
	if st.Origin == "" {
		key := s.keys.vkey()
		supersedes, err := readSupersedes(s.cfg.DataDir)
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("open 1 @ %s %s %s%s", key.Name, key, hex.EncodeToString(s.keys.opening), supersedes))
	} else if st.Settings.Window != s.cfg.Fold.Window {
		return cli.Fail(cli.ExitUsage, "config_invalid", fmt.Sprintf("set windows.length to %v, or begin a new ledger", st.Settings.Window),
			"windows.length is %v, this ledger was opened with %v", s.cfg.Fold.Window, st.Settings.Window)
	}
	declared, err := s.declareLines(s.metersOf(s.terms.Load().license))
	if err != nil {
		return err
	}
	boot := s.bootLine(lic)
	if _, err := ledger.ParseRecord(strings.NewReplacer(" @ # ", " 99999999999 9999999999 ").Replace(boot)); err != nil { // the fold could not go on
		return cli.Fail(cli.ExitUsage, "config_invalid", "shorten site.name, license.user or variables", "the boot record does not hold all that is configured: %v", err)
	}
	lines = append(append(append(lines, declared...), boot), licensed...)
	lines = append(lines, s.nextKeyLines(st.SiteKeys)...)
	if kept, folded := s.store.KeyMonths(); st.Origin != "" && kept > folded { // a store that is older than its keys
		lines = append(lines, shredLine(kept))
	}
	if l := s.terms.Load().license; l != nil {
		if limits := projections.LimitLines(l); !slices.Equal(limits, s.store.LimitsInForce()) {
			lines = append(lines, limits...)
		}
	}
	lines = append(lines, s.poolLines(s.terms.Load().license)...)
	if s.cfg.Fold.Trace && st.Origin == "" {
		// The first replay says what time it is; the ledger opens then.
		go func() {
			if err := s.begin(context.WithoutCancel(ctx), lines); err != nil && !errors.Is(err, stream.ErrClosed) {
				s.fail(err)
			}
		}()
		return nil
	}
	return s.begin(ctx, lines)
}

// begin sends the first lines of this run. The nonce is needed until they are
// in the stream.
func (s *site) begin(ctx context.Context, lines []string) error {
	if _, err := s.gateway.Control(ctx, lines...); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	for _, name := range []string{openingFile, supersedesFile} {
		if err := os.Remove(filepath.Join(s.cfg.DataDir, keysDir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// bootLine is the record of this start. What the vendor has to know of an
// activation stands in it: which license, which solution, which user (L-02).
func (s *site) bootLine(lic *configured) string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	line := fmt.Sprintf("boot @ # %x %s %d", nonce, version, int64(s.cfg.Fold.Window/time.Second))
	line += s.bindingAttrs() + s.count()
	if lic != nil {
		line += " license=" + lic.id
	}
	if s.cfg.SiteName != "" {
		line += " name=" + ledger.EscapeValue(s.cfg.SiteName)
	}
	line += " os=" + runtime.GOOS + "/" + runtime.GOARCH
	if lic != nil {
		line += " solution=" + ledger.EscapeValue(s.cfg.License.SolutionName)
	}
	if user := s.cfg.License.User; user != "" {
		line += " user=" + ledger.EscapeValue(user)
	}
	line = string(ledger.AppendVariables([]byte(line), variables{s}.Variables()))
	return line + " vm=" + ledger.EscapeValue(machine.VM(""))
}

// syncLoop syncs the projections and signs their checkpoint until the site
// closes.
func (s *site) syncLoop() {
	defer close(s.done)
	gateway := s.gateway // close forgets it before this ends
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	var dropped int64 // the stream's time when refused events were forgotten last, s
	size, closed := uint64(0), s.store.Glance().ClosedUntil
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			synced, err := s.store.Sync(context.Background())
			if err != nil {
				s.fail(err)
				return
			}
			gateway.Counted(synced.Cursor.Seq)
			s.watched.checkpointAt(synced, s.clock.Wall(), s.log)
			if synced.Size != size {
				size = synced.Size
				closed = s.logClosed(closed)
			}
			s.rate.saw(time.Now(), synced.Cursor.Next)
			s.usageDB.synced(synced)
			s.tail.Counted(synced.Cursor.Seq)
			if now := synced.Cursor.WallNS / int64(time.Second); now >= dropped+3600 {
				if err := s.store.DropRejected(time.Unix(now, 0).Add(-s.cfg.Retention)); err != nil {
					s.watched.failed(opReject)
					s.log.Error("forget refused events", "err", err)
				}
				dropped = now
			}
			s.witnesses.announce(time.Now())
		}
	}
}

// logClosed says which windows were closed since those up to until. A replay closes
// them by the thousand.
func (s *site) logClosed(until time.Time) time.Time {
	st := s.store.Glance()
	if !st.ClosedUntil.After(until) {
		return until
	}
	level := slog.LevelInfo
	if s.cfg.Fold.Trace {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "window closed", "until", st.ClosedUntil, "size", st.Records)
	return st.ClosedUntil
}

// fail ends the daemon with err.
func (s *site) fail(err error) {
	select {
	case s.fatal <- err:
	default:
	}
}

// ready reports why events are not taken, nil if they are.
func (s *site) ready() error {
	if err := s.gateway.Ready(); err != nil {
		return gatewayError(err)
	}
	return nil
}

// close stops taking events, stores and folds what has come, answers, syncs.
func (s *site) close(ctx context.Context) error {
	var errs []error
	s.exporter.Close()
	s.checks.stop()
	close(s.clockStop)
	<-s.clockDone
	<-s.published
	errs = append(errs, s.service.Close(ctx))
	if s.gateway != nil {
		errs = append(errs, s.gateway.Close(ctx))
		s.gateway = nil
	}
	close(s.stop)
	<-s.done
	<-s.witnessesRun
	s.service = nil
	synced, _ := s.store.Sync(ctx) // what went wrong, closing says again
	s.usageDB.close(ctx, synced)
	errs = append(errs, s.closeParts(ctx))
	return errors.Join(errs...)
}

func (s *site) closeParts(ctx context.Context) error {
	var errs []error
	if s.service != nil {
		errs = append(errs, s.service.Close(ctx))
	}
	if s.gateway != nil {
		errs = append(errs, s.gateway.Close(ctx))
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.stream != nil {
		errs = append(errs, s.stream.Close())
	}
	if s.book != nil {
		errs = append(errs, s.book.Close())
	}
	if s.tpm != nil {
		errs = append(errs, s.tpm.Close())
	}
	return errors.Join(errs...)
}

// groups reads the stream for the projections: after 0 from the oldest group that
// is kept.
func (s *site) groups(ctx context.Context, after uint64) iter.Seq2[projections.Stored, error] {
	return storedGroups(s.stored(ctx, after))
}

func (s *site) stored(ctx context.Context, after uint64) iter.Seq2[stream.Stored, error] {
	if after == 0 {
		return s.stream.ReadKept(ctx)
	}
	return s.stream.Read(ctx, after)
}

func storedGroups(in iter.Seq2[stream.Stored, error]) iter.Seq2[projections.Stored, error] {
	return func(yield func(projections.Stored, error) bool) {
		for g, err := range in {
			if !yield(projections.Stored{Seq: g.Seq, Group: g.Group}, err) {
				return
			}
		}
	}
}

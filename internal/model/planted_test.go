package model_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// plantedVar names the file that takes the result of TestPlantedBugs, and so
// asks for it: each bug is a build of its own, a long run ("go tool task planted").
const plantedVar = "METERSEAL_PLANTED"

// plantedBug is a mistake that a simulation has to find. It is laid over the
// source with "go test -overlay", so it is never in the product, and a patch that
// no longer applies fails.
type plantedBug struct {
	number int // in the list of planted bugs
	name   string
	edits  []plantedEdit
	dir    string // whose tests have to fall
	run    string
}

type plantedEdit struct{ file, old, new string }

const crashSchedules, wholePath, overNATS = "^TestCrashSchedules$", "^TestSimulation$", "^TestSimulationOverNATS$"

var plantedBugs = []plantedBug{
	{2, "cursor in a batch of its own", []plantedEdit{{"projections/store.go", "		set(b, []byte{keyCursor}, cur)\n", "		_ = s.db.Set([]byte{keyCursor}, cur, pebble.NoSync)\n"}}, "projections", crashSchedules},
	{5, "a group that does not follow is folded", []plantedEdit{{"projections/fold.go", "	if g.Prev != st.cursor.Seq || seq <= st.cursor.Seq || ledger.Hash(g.PrevSum) != st.cursor.Sum || g.First != st.cursor.Next {", "	if false {"}}, "projections", crashSchedules},
	{6, "checksum of a group is not compared", []plantedEdit{{"events/groupread.go", "h.Sum(nil)); got != g.Sum {", "h.Sum(nil)); got == [32]byte{} {"}}, "projections", crashSchedules},
	{7, "checkpoint handed out before anything is synced", []plantedEdit{
		{"projections/store.go", "s.db.LogData(nil, pebble.Sync)", "s.db.LogData(nil, pebble.NoSync)"},
		{"projections/store.go", "	if err := b.Commit(pebble.Sync); err != nil {\n		return nil, fmt.Errorf(\"store checkpoint", "	if err := b.Commit(pebble.NoSync); err != nil {\n		return nil, fmt.Errorf(\"store checkpoint"},
	}, "projections", crashSchedules},
	{9, "an empty batch taken for a sync", []plantedEdit{{"projections/store.go", "s.db.LogData(nil, pebble.Sync)", "s.db.NewBatch().Commit(pebble.Sync)"}}, "projections", crashSchedules},
	{16, "the fold reads a clock", []plantedEdit{
		{"projections/fold.go", "wallMS: floorDiv(g.WallNS, 1e6)", "wallMS: time.Now().UnixMilli()"},
		{"projections/fold.go", "	\"strings\"\n", "	\"strings\"\n	\"time\"\n"},
	}, "projections", crashSchedules},
	{17, "the order of a map reaches the records", []plantedEdit{{"projections/close.go", "	for _, n := range st.byName {\n		covered := \"-\"", "	for _, n := range st.nodes {\n		covered := \"-\""}}, "projections", crashSchedules},
	{18, "a late event goes into its closed window", []plantedEdit{{"projections/cell.go", "	if from+st.windowSeconds() <= st.closedUntil {", "	if from < 0 {"}}, "projections", crashSchedules},
	{19, "a sum that overflows wraps", []plantedEdit{{"projections/errors.go", "	if (a > 0 && b > 0 && s < 0) || (a < 0 && b < 0 && s >= 0) {", "	if false {"}}, "projections", crashSchedules},
	{20, "the wrong field is added up", []plantedEdit{{"projections/cell.go", "		c.value += e.Quantity\n		m.running", "		c.value += e.TimeMS & 1023\n		m.running"}}, ".", wholePath},
	{26, "ids are forgotten at a restart", []plantedEdit{{"projections/load.go", "s.loadIDs, ", ""}}, ".", wholePath},
	{27, "the gateway goes on after another one has appended", []plantedEdit{{"events/stream/commit.go", "			g.fail(fmt.Errorf(\"append group %d: %w\", at.seq+1, err))\n", ""}}, ".", wholePath},
	{28, "a refused event is answered with success", []plantedEdit{{"events/stream/answer.go", "		case d.Refused():\n			run := &p.group.Runs[a.run]\n			w.body", "		case d.Refused() && false:\n			run := &p.group.Runs[a.run]\n			w.body"}}, ".", overNATS},
	{31, "a lease ends when its group comes, not at its end", []plantedEdit{{"projections/seatfold.go", "			at := max(s.until, p.at)\n", "			at := max(now, p.at)\n"}}, "projections", crashSchedules},
	{32, "one seat too many", []plantedEdit{{"projections/seatfold.go", "taken < p.terms.count:", "taken <= p.terms.count:"}}, ".", wholePath},
	{33, "seats are lost at a restart", []plantedEdit{{"projections/seatstore.go", "	if err := s.scan([]byte{keySeat}, s.loadSeat); err != nil {\n		return err\n	}\n", ""}}, "projections", crashSchedules},
	{30, "records follow retire", []plantedEdit{{"projections/close.go", "	if st.origin == \"\" || st.retired {\n		return nil\n	}\n	due", "	if st.origin == \"\" {\n		return nil\n	}\n	due"}}, "projections", "^TestNothingFollowsRetire$"},
}

// root is the folder of the repository.
func root(t *testing.T) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("no source path")
	}
	if !filepath.IsAbs(file) || !strings.HasSuffix(file, filepath.FromSlash("internal/model/planted_test.go")) {
		wd, err := os.Getwd() // built with -trimpath
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(wd, "..", "..")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// overlay writes the files of a bug and the description of the overlay, and
// returns the name of that.
func (b *plantedBug) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	texts := map[string]string{}
	for _, e := range b.edits {
		path := filepath.Join(root(t), filepath.FromSlash(e.file))
		if _, ok := texts[path]; !ok {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(text)
		}
		if n := strings.Count(texts[path], e.old); n != 1 || e.old == e.new {
			t.Fatalf("bug %d (%s): %q stands %d times in %s, want once", b.number, b.name, e.old, n, e.file)
		}
		texts[path] = strings.Replace(texts[path], e.old, e.new, 1)
	}
	replace := map[string]string{}
	for path, text := range texts {
		file := filepath.Join(dir, fmt.Sprint(len(replace), filepath.Base(path)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = file
	}
	description, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, description, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Every patch still applies; whether the bugs fall is TestPlantedBugs.
func TestPlantedBugsApply(t *testing.T) {
	for _, b := range plantedBugs {
		b.overlay(t)
	}
}

var repeatSeed = regexp.MustCompile(`METERSEAL_SEED=(\d+)`)

// The tests bite: each planted bug falls within 10,000 seeds.
func TestPlantedBugs(t *testing.T) {
	result := os.Getenv(plantedVar)
	if result == "" {
		t.Skipf("a long run: %s=FILE, or go tool task planted", plantedVar)
	}
	var table bytes.Buffer
	fmt.Fprintf(&table, "go tool task planted, %s %s/%s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(&table, "%-3s  %-55s  %-28s  %s\n", "BUG", "PLANTED", "FALLS IN", "AT SEED")
	for _, b := range plantedBugs {
		t.Run(fmt.Sprint(b.number), func(t *testing.T) {
			dir := filepath.Join(root(t), b.dir)
			if b.dir == "." {
				dir = filepath.Join(root(t), "internal", "model")
			}
			cmd := exec.Command("go", "test", "-overlay", b.overlay(t), "-count=1", "-timeout", "30m", "-run", b.run, ".")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "METERSEAL_SEEDS=10000", plantedVar+"=")
			out, err := cmd.CombinedOutput()
			if err == nil || bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")) {
				t.Fatalf("bug %d (%s) did not fall: %v\n%s", b.number, b.name, err, out)
			}
			seed := "-"
			if m := repeatSeed.FindSubmatch(out); m != nil {
				seed = string(m[1])
			}
			fmt.Fprintf(&table, "%-3d  %-55s  %-28s  %s\n", b.number, b.name, strings.Trim(b.run, "^$"), seed)
		})
	}
	if t.Failed() {
		return
	}
	if err := os.WriteFile(result, table.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

package portal_test

import (
	"os"
	"testing"

	"github.com/meterseal/meterseal/internal/postgrestest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	postgrestest.Stop()
	os.Exit(code)
}

package notify

// Public is for tests.
var Public = public

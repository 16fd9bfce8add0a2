package stream_test

func childDaemon() int { return 2 }

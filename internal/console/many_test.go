package console

func playMany(s *stage)   {}
func playBench(s *stage)  {}
func playResume(s *stage) {}
func playIdle(s *stage)   {}

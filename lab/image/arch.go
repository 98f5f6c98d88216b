package image

import "runtime"

// goarch is the architecture of everything the lab builds: programs run on the machine that built them.
const goarch = runtime.GOARCH

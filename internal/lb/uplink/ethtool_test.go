package uplink

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtool sets one number of an interface (struct ethtool_value).
func ethtool(socket int, device string, command, value uint32) error {
	set := [2]uint32{command, value}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&set)}
	copy(request.name[:], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

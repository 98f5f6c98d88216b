package uplink

// SourcePorts are the ports that packets to endpoints on other nodes leave from
// on this node, given the range of NodePorts, whether or not a Plane runs. The
// error says why there are none.
func SourcePorts(nodePorts PortRange) (PortRange, error) {
	ephemeral, err := kernelPorts()
	if err != nil {
		return PortRange{}, err
	}
	return sourcePorts(ephemeral, nodePorts)
}

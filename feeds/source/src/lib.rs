//! Where packets come from: length-prefixed files, gzip, pcap and pcapng, several lines merged by time, behind one trait.

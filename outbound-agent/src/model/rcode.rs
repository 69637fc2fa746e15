//! `Rcode`: what an answer of the tenants' resolver says about itself.

use super::reason::closed_list;

closed_list! {
    /// A response code (RFC 6895 section 2.3), of those that the agent gives.
    Rcode {
        /// Here is what there is, be it nothing.
        NoError = "NOERROR",
        /// The query cannot be read.
        FormErr = "FORMERR",
        /// The answer could not be found.
        ServFail = "SERVFAIL",
        /// There is no such name.
        NxDomain = "NXDOMAIN",
        /// Not a kind of request that the agent knows.
        NotImp = "NOTIMP",
        /// The agent will not answer.
        Refused = "REFUSED",
        /// A version of EDNS that the agent does not know.
        BadVers = "BADVERS",
    }
}

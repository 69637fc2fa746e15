//! tmp
#[derive(Clone)]
/// t
pub struct Tasks;
impl Tasks {
    /// s
    pub fn spawn(&self, _n: &'static str, _f: impl Future<Output = ()> + Send + 'static) {}
}

use crate::stage::Stage;

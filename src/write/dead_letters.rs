//! stub
use super::*;
use crate::dead_letter::AddressedLetter;
pub struct DeadLetterWriter;
impl DeadLetterWriter { pub fn new(_: &crate::plan::Plan, _: &crate::settings::Settings, _: Option<std::path::PathBuf>, _: Arc<Health>) -> Result<Self> { Ok(Self) } }
impl Sink<Vec<AddressedLetter>> for DeadLetterWriter {
 fn open(&mut self, _: &Identity) -> Result<Epoch> { Ok(0) }
 fn write(&mut self, _: Epoch, _: Vec<AddressedLetter>) -> Result<()> { Ok(()) }
 fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>> { Ok(vec![]) }
 fn close(&mut self) -> Result<()> { Ok(()) }
}
